package thaw.snapstart;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** As much of the form of class files as it takes to lead calls elsewhere. Source: The Java Virtual Machine Specification, 4.1 and 4.4. */
final class ClassFile {
    private static final int UTF8 = 1;
    private static final int LONG = 5;
    private static final int DOUBLE = 6;
    private static final int CLASS = 7;
    private static final int METHOD = 10;
    private static final int METHOD_HANDLE = 15;

    private ClassFile() { }

    /**
     * Makes references to static methods of one class name another class, which must have methods of the same names and types. Both names are internal
     * (a/b/C). wanted is how many references to each method there must be.
     *
     * @throws IllegalArgumentException when there are others
     */
    static byte[] redirect(byte[] file, String from, String to, Map<String, Integer> wanted) {
        ByteBuffer in = ByteBuffer.wrap(file);
        int count = in.getShort(8) & 0xffff;
        int[] at = new int[count]; // where each constant's tag is
        int p = 10;
        for (int i = 1; i < count; i++) {
            at[i] = p;
            int tag = in.get(p);
            p += size(in, p, tag);
            if (tag == LONG || tag == DOUBLE) {
                i++; // they count twice
            }
        }
        byte[] out = file.clone();
        ByteBuffer changed = ByteBuffer.wrap(out);
        Map<String, Integer> found = new HashMap<>();
        for (int i = 1; i < count; i++) {
            if (at[i] == 0 || in.get(at[i]) != METHOD) {
                continue;
            }
            int owner = index(in, at[i] + 1);
            String name = text(file, in, at, index(in, at[index(in, at[i] + 3)] + 1));
            if (wanted.containsKey(name) && from.equals(text(file, in, at, index(in, at[owner] + 1)))) {
                changed.putShort(at[i] + 1, (short) (count + 1));
                found.merge(name, 1, Integer::sum);
            }
        }
        if (!found.equals(wanted)) {
            throw new IllegalArgumentException("references to its methods: " + found);
        }
        changed.putShort(8, (short) (count + 2));
        try {
            ByteArrayOutputStream all = new ByteArrayOutputStream(out.length + to.length() + 6);
            DataOutputStream data = new DataOutputStream(all);
            data.write(out, 0, p);
            data.writeByte(UTF8);
            data.writeUTF(to);
            data.writeByte(CLASS);
            data.writeShort(count);
            data.write(out, p, out.length - p);
            return all.toByteArray();
        } catch (IOException e) {
            throw new IllegalStateException(e); // into memory
        }
    }

    private static int index(ByteBuffer in, int p) {
        return in.getShort(p) & 0xffff;
    }

    /** The text of a constant, ASCII as our names are. */
    private static String text(byte[] file, ByteBuffer in, int[] at, int constant) {
        int p = at[constant];
        int length = index(in, p + 1);
        return new String(Arrays.copyOfRange(file, p + 3, p + 3 + length), java.nio.charset.StandardCharsets.ISO_8859_1);
    }

    private static int size(ByteBuffer in, int p, int tag) {
        switch (tag) {
            case UTF8:
                return 3 + index(in, p + 1);
            case LONG:
            case DOUBLE:
                return 9;
            case METHOD_HANDLE:
                return 4;
            case CLASS:
            case 8: // String
            case 16: // MethodType
            case 19: // Module
            case 20: // Package
                return 3;
            case 3: // Integer
            case 4: // Float
            case 9: // Fieldref
            case METHOD:
            case 11: // InterfaceMethodref
            case 12: // NameAndType
            case 17: // Dynamic
            case 18: // InvokeDynamic
                return 5;
            default:
                throw new IllegalArgumentException("constant of kind " + tag);
        }
    }
}
