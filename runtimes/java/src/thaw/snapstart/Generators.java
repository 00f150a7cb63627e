package thaw.snapstart;

import java.lang.instrument.Instrumentation;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The generators that the JDK itself keeps, and the counters from which it seeds new ones. Those that a program made and holds are its own: they look
 * like ones that it seeded.
 */
final class Generators {
    /** How often this JVM's generators were seeded anew. {@link SunService} compares. */
    static volatile int generation;

    private final Instrumentation jvm;
    private final List<AtomicLong> counters = new ArrayList<>();
    private final List<Step> steps = new ArrayList<>();
    private Field threadSeed;
    private Field threadSecondary;

    /** Seeds one generator anew. */
    private interface Step {
        void run() throws Exception;
    }

    Generators(Instrumentation jvm) {
        this.jvm = jvm;
    }

    /** Looks up what there is; it is quick to seed after that. */
    synchronized void find() throws Exception {
        counters.clear();
        steps.clear();
        threadSeed = field(Thread.class, "threadLocalRandomSeed");
        threadSecondary = field(Thread.class, "threadLocalRandomSecondarySeed");
        counter(ThreadLocalRandom.class, "seeder");
        counter(SplittableRandom.class, "defaultGen");
        counter(Random.class, "seedUniquifier");
        for (String holder : new String[] {"java.lang.Math$RandomNumberGeneratorHolder", "java.lang.StrictMath$RandomNumberGeneratorHolder"}) {
            Random held = (Random) field(Class.forName(holder), "randomNumberGenerator").get(null);
            steps.add(() -> held.setSeed(Kernel.word()));
        }
        Random shuffles = (Random) field(Collections.class, "r").get(null);
        if (shuffles != null) {
            steps.add(() -> shuffles.setSeed(Kernel.word()));
        }
        for (Class<?> c : jvm.getAllLoadedClasses()) {
            String name = c.getName();
            if (name.startsWith("jdk.random.") || name.startsWith("jdk.internal.random.")) {
                for (Field f : c.getDeclaredFields()) {
                    if (f.getName().equals("defaultGen")) {
                        counter(c, "defaultGen");
                    }
                }
            } else if (name.startsWith("sun.security.provider.")) {
                findSun(c, name.substring("sun.security.provider.".length()));
            }
        }
    }

    /** What the SUN provider keeps for all: it seeds its new generators from these. */
    private void findSun(Class<?> c, String name) throws Exception {
        switch (name) {
            case "SecureRandom$SeederHolder":
                seedable(field(c, "seeder").get(null));
                break;
            case "AbstractDrbg$SeederHolder":
                Object source = field(c, "seeder").get(null); // a lambda around the generator
                for (Field f : source.getClass().getDeclaredFields()) {
                    f.setAccessible(true);
                    seedable(f.get(source));
                }
                break;
            case "NativePRNG":
            case "NativePRNG$Blocking":
            case "NativePRNG$NonBlocking":
                Object io = field(c, "INSTANCE").get(null);
                if (io == null) {
                    break;
                }
                // It may hold bytes of the kernel for 100 ms.
                Field left = field(io.getClass(), "buffered");
                Object lock = field(io.getClass(), "LOCK_GET_BYTES").get(io);
                steps.add(() -> {
                    synchronized (lock) {
                        left.setInt(io, 0);
                    }
                });
                break;
            default:
                break;
        }
    }

    private void seedable(Object spi) throws Exception {
        for (Class<?> c = spi.getClass(); c != null; c = c.getSuperclass()) {
            for (Method m : c.getDeclaredMethods()) {
                if (m.getName().equals("engineSetSeed") && m.getParameterCount() == 1 && m.getParameterTypes()[0] == byte[].class) {
                    m.setAccessible(true);
                    steps.add(() -> m.invoke(spi, (Object) Kernel.bytes(48)));
                    return;
                }
            }
        }
    }

    private void counter(Class<?> c, String name) throws Exception {
        counters.add((AtomicLong) field(c, name).get(null));
    }

    private static Field field(Class<?> c, String name) throws Exception {
        Field f = c.getDeclaredField(name);
        f.setAccessible(true);
        return f;
    }

    synchronized void reseed() throws Exception {
        for (AtomicLong counter : counters) {
            counter.set(Kernel.word() | 1);
        }
        for (Step step : steps) {
            step.run();
        }
        for (Thread t : threads()) {
            if (t != null) {
                threadSeed.setLong(t, Kernel.word());
                if (threadSecondary.getInt(t) != 0) {
                    threadSecondary.setInt(t, Kernel.nonZero());
                }
            }
        }
        generation++;
    }

    private static Thread[] threads() {
        ThreadGroup root = Thread.currentThread().getThreadGroup();
        while (root.getParent() != null) {
            root = root.getParent();
        }
        Thread[] all = new Thread[2 * root.activeCount() + 64];
        while (root.enumerate(all) == all.length) {
            all = new Thread[2 * all.length];
        }
        return all;
    }
}
