// Enough of AWS's client to compile against; it is not part of the jar.
package com.amazonaws.services.lambda.crac;

public class CheckpointException extends Exception {
}
