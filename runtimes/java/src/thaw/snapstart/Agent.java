package thaw.snapstart;

import com.amazonaws.services.lambda.crac.Context;
import com.amazonaws.services.lambda.crac.Core;
import com.amazonaws.services.lambda.crac.Resource;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Field;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/**
 * What a JVM under SnapStart loads before AWS's client, which stays as it is. It keeps copies of one snapshot from drawing the same random values
 * ({@link Generators}, {@link SunService}), makes the client tell what a hook said when it failed and which ones ran
 * ({@link Hooks}), and primes a snapshot ({@link Priming}).
 */
public final class Agent {
    private static final String[] OPENED = {
        "java.lang", "java.util", "java.util.concurrent", "java.security", "sun.security.provider", "jdk.internal.random",
    };

    private Agent() { }

    public static void premain(String argument, Instrumentation jvm) throws Exception {
        openPackages(jvm);
        if (Priming.events() > 0) {
            jvm.addTransformer(new Priming());
        }
        Generators generators = new Generators(jvm);
        SunService.replace();
        Field global = Core.class.getDeclaredField("globalContext");
        global.setAccessible(true);
        @SuppressWarnings("unchecked")
        Context<Resource> context = (Context<Resource>) global.get(null);
        global.set(null, new Hooks(context, generators));
    }

    /** Opens the packages that hold the state of the JDK's generators, to this agent's module only as far as modules go. */
    private static void openPackages(Instrumentation jvm) {
        Module us = Agent.class.getModule();
        open(jvm, Object.class.getModule(), us, OPENED);
        // Until Java 21 or so the further generators had a module of their own.
        ModuleLayer.boot().findModule("jdk.random").ifPresent(m -> open(jvm, m, us, "jdk.random"));
    }

    private static void open(Instrumentation jvm, Module module, Module to, String... packages) {
        Map<String, Set<Module>> opens = new HashMap<>();
        for (String name : packages) {
            if (module.getPackages().contains(name)) {
                opens.put(name, Set.of(to));
            }
        }
        jvm.redefineModule(module, Set.of(), Map.of(), opens, Set.of(), Map.of());
    }
}
