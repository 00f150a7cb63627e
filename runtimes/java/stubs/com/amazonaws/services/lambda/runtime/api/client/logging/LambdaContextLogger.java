package com.amazonaws.services.lambda.runtime.api.client.logging;

public class LambdaContextLogger {
}
