package example;

import java.security.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.random.RandomGenerator;
import org.crac.*;

/** Draws from every generator that Java has. */
public class Draws implements Resource {
    final Map<String, Object> before = new TreeMap<>(), hook = new TreeMap<>();
    final ExecutorService other = Executors.newSingleThreadExecutor();
    final Map<String, SecureRandom> held = new TreeMap<>();
    final boolean use = System.getenv("DRAW_BEFORE") != null;
    final ThreadLocalRandom heldLocal = ThreadLocalRandom.current();

    public Draws() throws Exception {
        for (String name : new String[] {"NativePRNG", "NativePRNGNonBlocking", "DRBG", "SHA1PRNG"}) {
            held.put(name, SecureRandom.getInstance(name));
            held.put(name + " of SUN", SecureRandom.getInstance(name, "SUN"));
        }
        held.put("default", new SecureRandom());
        SecureRandom fed = SecureRandom.getInstance("DRBG");
        fed.setSeed(42);
        held.put("DRBG with a seed on top", fed);
        other.submit(() -> { }).get();
        Core.getGlobalContext().register(this);
    }

    static String bytes(SecureRandom r) {
        byte[] b = new byte[16];
        r.nextBytes(b);
        return HexFormat.of().formatHex(b);
    }

    Map<String, Object> draw() throws Exception {
        Map<String, Object> out = new TreeMap<>();
        for (var e : held.entrySet()) {
            out.put("held " + e.getKey(), bytes(e.getValue()));
        }
        for (String name : new String[] {"NativePRNG", "DRBG", "SHA1PRNG"}) {
            out.put("new " + name, bytes(SecureRandom.getInstance(name)));
        }
        out.put("new SecureRandom", bytes(new SecureRandom()));
        out.put("strong", bytes(SecureRandom.getInstanceStrong()));
        out.put("UUID", UUID.randomUUID().toString());
        out.put("Math.random", Math.random());
        out.put("StrictMath.random", StrictMath.random());
        out.put("ThreadLocalRandom", ThreadLocalRandom.current().nextLong());
        out.put("ThreadLocalRandom held", heldLocal.nextLong());
        out.put("ThreadLocalRandom of another thread", other.submit(() -> ThreadLocalRandom.current().nextLong()).get());
        out.put("SplittableRandom", new SplittableRandom().nextLong());
        out.put("Random", new Random().nextLong());
        out.put("RandomGenerator", RandomGenerator.of("L64X128MixRandom").nextLong());
        List<Integer> cards = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            cards.add(i);
        }
        Collections.shuffle(cards);
        out.put("shuffle", cards.toString());
        KeyPairGenerator keys = KeyPairGenerator.getInstance("EC");
        keys.initialize(256);
        out.put("KeyPairGenerator", HexFormat.of().formatHex(keys.generateKeyPair().getPublic().getEncoded()));
        out.put("KeyGenerator", HexFormat.of().formatHex(javax.crypto.KeyGenerator.getInstance("AES").generateKey().getEncoded()));
        out.put("createTempFile", java.nio.file.Files.createTempFile("x", "y").toString());
        return out;
    }

    @Override
    public void beforeCheckpoint(Context<? extends Resource> c) throws Exception {
        if (use) {
            before.putAll(draw());
        }
    }

    @Override
    public void afterRestore(Context<? extends Resource> c) throws Exception {
        hook.putAll(draw());
    }

    public Map<String, Object> handle(Map<String, Object> event, com.amazonaws.services.lambda.runtime.Context context) throws Exception {
        return Map.of("before", before, "hook", hook, "event", draw());
    }
}
