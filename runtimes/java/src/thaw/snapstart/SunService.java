package thaw.snapstart;

import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.security.NoSuchAlgorithmException;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.SecureRandomParameters;
import java.security.SecureRandomSpi;
import java.security.Security;
import java.util.List;
import java.util.Map;

/**
 * DRBG and SHA1PRNG of the SUN provider compute their bytes from a state in memory. This puts in their places the same generators, made by the same
 * provider, which mix in bytes of the kernel at their first use after a restore; wherever they are held. NativePRNG, the default, reads the kernel.
 */
final class SunService extends Provider.Service {
    private SunService(Provider.Service original) {
        super(original.getProvider(), original.getType(), original.getAlgorithm(), original.getClassName(), List.of(),
            Map.of("ThreadSafe", "true", "ImplementedIn", "Software"));
    }

    static void replace() throws Exception {
        Provider sun = Security.getProvider("SUN");
        if (sun == null) { // a JVM that was configured to use others only
            return;
        }
        Method put = Provider.class.getDeclaredMethod("putService", Provider.Service.class);
        put.setAccessible(true);
        for (String algorithm : new String[] {"DRBG", "SHA1PRNG"}) {
            Provider.Service service = sun.getService("SecureRandom", algorithm);
            if (service != null) {
                put.invoke(sun, new SunService(service));
            }
        }
    }

    @Override
    public Object newInstance(Object parameter) throws NoSuchAlgorithmException {
        return new Mixing(new Opened(engine(parameter), getProvider()), getAlgorithm().equals("SHA1PRNG"));
    }

    /** Makes an engine of the provider. A service that has been replaced does not do it any more. */
    private SecureRandomSpi engine(Object parameter) throws NoSuchAlgorithmException {
        try {
            Class<?> engine = Class.forName(getClassName());
            for (Constructor<?> c : engine.getDeclaredConstructors()) {
                boolean takes = c.getParameterCount() == 1 && c.getParameterTypes()[0] == SecureRandomParameters.class;
                if (takes || c.getParameterCount() == 0 && parameter == null) {
                    c.setAccessible(true);
                    return (SecureRandomSpi) (takes ? c.newInstance(parameter) : c.newInstance());
                }
            }
            throw new NoSuchAlgorithmException(getAlgorithm() + " takes no parameters");
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException) {
                throw (RuntimeException) e.getCause(); // of parameters that it does not know
            }
            throw new NoSuchAlgorithmException(getAlgorithm(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new NoSuchAlgorithmException(getAlgorithm(), e);
        }
    }

    /** Makes an engine's methods callable. */
    private static final class Opened extends SecureRandom {
        private static final long serialVersionUID = 1;

        Opened(SecureRandomSpi engine, Provider provider) {
            super(engine, provider);
        }
    }

    /** The engine that programs get. */
    private static final class Mixing extends SecureRandomSpi {
        private static final long serialVersionUID = 1;

        private final SecureRandom real;
        /** Seeding SHA1PRNG before its first use is how a program asks for the same values each time. */
        private final boolean seedDecides;
        private boolean used;
        private boolean seeded;
        private transient volatile int mixed = Generators.generation;

        Mixing(SecureRandom real, boolean seedDecides) {
            this.real = real;
            this.seedDecides = seedDecides;
        }

        private void mix() {
            if (mixed == Generators.generation && used) {
                return;
            }
            synchronized (this) {
                int now = Generators.generation;
                if (mixed != now) {
                    if (!seeded && used) {
                        real.setSeed(Kernel.bytes(48));
                    }
                    mixed = now;
                }
                used = true;
            }
        }

        @Override
        protected void engineSetSeed(byte[] seed) {
            synchronized (this) {
                if (!seedDecides) {
                    used = true;
                } else if (!used) {
                    seeded = true;
                }
                real.setSeed(seed);
            }
        }

        @Override
        protected void engineNextBytes(byte[] bytes) {
            mix();
            real.nextBytes(bytes);
        }

        @Override
        protected void engineNextBytes(byte[] bytes, SecureRandomParameters parameters) {
            mix();
            real.nextBytes(bytes, parameters);
        }

        @Override
        protected void engineReseed(SecureRandomParameters parameters) {
            mix();
            if (parameters == null) {
                real.reseed();
            } else {
                real.reseed(parameters);
            }
        }

        @Override
        protected byte[] engineGenerateSeed(int n) {
            return real.generateSeed(n);
        }

        @Override
        protected SecureRandomParameters engineGetParameters() {
            return real.getParameters();
        }

        @Override
        public String toString() {
            return real.toString();
        }
    }
}
