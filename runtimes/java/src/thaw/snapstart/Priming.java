package thaw.snapstart;

import com.amazonaws.services.lambda.runtime.api.client.AWSLambda;
import com.amazonaws.services.lambda.runtime.api.client.LambdaRequestHandler;
import com.amazonaws.services.lambda.runtime.api.client.logging.LambdaContextLogger;
import com.amazonaws.services.lambda.runtime.api.client.runtimeapi.LambdaRuntimeApiClient;
import java.io.IOException;
import java.lang.instrument.ClassFileTransformer;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.security.ProtectionDomain;
import java.util.Map;

/**
 * Priming: the client's own loop serves so many events before the before-checkpoint hooks run. The client keeps its handler in local variables, so two
 * of its calls are led through here, {@link #findRequestHandler} and {@link #onInitComplete}: in the class as it is loaded, the references to the two
 * methods name this class instead. When there is nothing to prime with, the client's class is left alone.
 */
public final class Priming implements ClassFileTransformer {
    static final String VARIABLE = "_THAW_PRIMING_INVOKES";

    private static final String CLIENT = "com/amazonaws/services/lambda/runtime/api/client/AWSLambda";
    private static final String US = "thaw/snapstart/Priming";

    private static LambdaRequestHandler handler;

    Priming() { }

    static int events() {
        String n = System.getenv(VARIABLE);
        return n == null ? 0 : Integer.parseInt(n);
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> redefined, ProtectionDomain domain, byte[] file) {
        if (!CLIENT.equals(name)) {
            return null;
        }
        try {
            return ClassFile.redirect(file, CLIENT, US, Map.of("findRequestHandler", 1, "onInitComplete", 1));
        } catch (RuntimeException e) { // another client than the one we know: the platform finds that its events are not taken, and says so
            System.err.println("thaw: AWS's client cannot be primed: " + e);
            return null;
        }
    }

    /** Stands before the client's method of this name. */
    public static LambdaRequestHandler findRequestHandler(String name, ClassLoader loader) throws Throwable {
        handler = (LambdaRequestHandler) call("findRequestHandler", new Class<?>[] {String.class, ClassLoader.class}, name, loader);
        return handler;
    }

    /** Stands before the client's method of this name, which runs the hooks and parks in restore/next. */
    public static void onInitComplete(LambdaContextLogger logger, LambdaRuntimeApiClient client) throws Throwable {
        try {
            call("startRuntimeLoop", new Class<?>[] {LambdaRequestHandler.class, LambdaContextLogger.class, LambdaRuntimeApiClient.class, boolean.class},
                handler, logger, only(client, events()), true);
        } catch (Done e) {
            handler = null;
        }
        call("onInitComplete", new Class<?>[] {LambdaContextLogger.class, LambdaRuntimeApiClient.class}, logger, client);
    }

    /** The client's API client, which ends the loop when it asks for one event more than there are. */
    private static LambdaRuntimeApiClient only(LambdaRuntimeApiClient client, int events) {
        int[] left = {events};
        return (LambdaRuntimeApiClient) Proxy.newProxyInstance(client.getClass().getClassLoader(), new Class<?>[] {LambdaRuntimeApiClient.class},
            (proxy, method, arguments) -> {
                if (method.getName().startsWith("nextInvocation") && left[0]-- == 0) {
                    throw new Done();
                }
                try {
                    return method.invoke(client, arguments);
                } catch (InvocationTargetException e) {
                    throw e.getCause();
                }
            });
    }

    private static Object call(String name, Class<?>[] types, Object... arguments) throws Throwable {
        Method method = AWSLambda.class.getDeclaredMethod(name, types);
        method.setAccessible(true);
        try {
            return method.invoke(null, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static final class Done extends IOException {
        private static final long serialVersionUID = 1;

        @Override
        public synchronized Throwable fillInStackTrace() {
            return this;
        }
    }
}
