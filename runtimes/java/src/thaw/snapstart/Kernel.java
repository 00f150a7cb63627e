package thaw.snapstart;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/** The kernel's generator. It is not part of a snapshot. */
final class Kernel {
    private static FileInputStream urandom;

    private Kernel() { }

    static synchronized byte[] bytes(int n) {
        try {
            if (urandom == null) {
                urandom = new FileInputStream("/dev/urandom");
            }
            byte[] out = urandom.readNBytes(n);
            if (out.length < n) {
                throw new IOException("/dev/urandom has ended");
            }
            return out;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static long word() {
        return ByteBuffer.wrap(bytes(Long.BYTES)).getLong();
    }

    /** A word that no generator mistakes for "not seeded yet". */
    static int nonZero() {
        return (int) word() | 1;
    }
}
