package com.amazonaws.services.lambda.runtime.api.client.runtimeapi;

public interface LambdaRuntimeApiClient {
}
