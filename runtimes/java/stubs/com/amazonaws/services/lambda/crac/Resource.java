// Enough of AWS's client to compile against; it is not part of the jar.
package com.amazonaws.services.lambda.crac;

public interface Resource {
    void beforeCheckpoint(Context<? extends Resource> context) throws Exception;

    void afterRestore(Context<? extends Resource> context) throws Exception;
}
