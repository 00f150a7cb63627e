package thaw.snapstart;

import com.amazonaws.services.lambda.crac.CheckpointException;
import com.amazonaws.services.lambda.crac.Context;
import com.amazonaws.services.lambda.crac.Resource;
import com.amazonaws.services.lambda.crac.RestoreException;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.UndeclaredThrowableException;
import java.util.List;

/**
 * The global context: AWS's, with three additions. Generators are seeded anew before the first after-restore hook and after the last
 * before-checkpoint hook. And the exception that collects what hooks threw gets their words for a message: it has none of its own, so the client
 * would report the name of its class and nothing else. And an {@link Error} that a hook throws becomes such an exception: the client catches exceptions only, so
 * the error would end the main thread, and the process just if no other thread lives.
 */
final class Hooks extends Context<Resource> {
    private static final int MAX_MESSAGE = 2000;

    private final Context<Resource> hooks;
    private final Generators generators;

    Hooks(Context<Resource> hooks, Generators generators) {
        this.hooks = hooks;
        this.generators = generators;
    }

    @Override
    public void register(Resource resource) {
        hooks.register(resource);
    }

    @Override
    public void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException {
        List<String> names = HookNames.of(hooks);
        try {
            hooks.beforeCheckpoint(context);
        } catch (CheckpointException e) {
            tell(e);
            throw e;
        } catch (Error e) {
            throw checkpointFailed(e);
        }
        HookNames.tell(names);
        try {
            generators.find();
            generators.reseed(); // so that what it needs is loaded and open by then
        } catch (Exception | Error e) {
            throw checkpointFailed(e);
        }
    }

    @Override
    public void afterRestore(Context<? extends Resource> context) throws RestoreException {
        try {
            generators.reseed();
        } catch (Exception | Error e) { // better no environment than one that repeats another's secrets
            throw restoreFailed(e);
        }
        try {
            hooks.afterRestore(context);
        } catch (RestoreException e) {
            tell(e);
            throw e;
        } catch (Error e) {
            throw restoreFailed(e);
        }
    }

    private static CheckpointException checkpointFailed(Throwable why) {
        CheckpointException failed = new CheckpointException();
        failed.addSuppressed(why);
        tell(failed);
        return failed;
    }

    private static RestoreException restoreFailed(Throwable why) {
        RestoreException failed = new RestoreException();
        failed.addSuppressed(why);
        tell(failed);
        return failed;
    }

    private static void tell(Throwable collected) {
        String text = words(collected.getSuppressed());
        if (collected.getMessage() != null || text.isEmpty()) {
            return;
        }
        try {
            Field message = Throwable.class.getDeclaredField("detailMessage");
            message.setAccessible(true);
            message.set(collected, text);
        } catch (ReflectiveOperationException | RuntimeException e) {
            System.err.println("thaw: hooks failed: " + text);
        }
    }

    private static String words(Throwable[] all) {
        StringBuilder text = new StringBuilder();
        for (Throwable thrown : all) {
            while ((thrown instanceof InvocationTargetException || thrown instanceof UndeclaredThrowableException) && thrown.getCause() != null) {
                thrown = thrown.getCause();
            }
            text.append(text.length() == 0 ? "" : "; ").append(thrown);
            if (thrown.getSuppressed().length > 0 && text.length() < MAX_MESSAGE) {
                text.append(" (").append(words(thrown.getSuppressed())).append(")");
            }
        }
        return text.substring(0, Math.min(text.length(), MAX_MESSAGE));
    }
}
