package com.amazonaws.services.lambda.runtime.api.client;

public interface LambdaRequestHandler {
}
