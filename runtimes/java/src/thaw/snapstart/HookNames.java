package thaw.snapstart;

import com.amazonaws.services.lambda.crac.Resource;
import java.io.IOException;
import java.io.InputStream;
import java.lang.ref.Reference;
import java.lang.reflect.Field;
import java.lang.reflect.Proxy;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The classes of the registered resources, told to the platform so that people can see which hooks are behind a snapshot. What goes wrong here changes nothing. */
final class HookNames {
    private static final int MAX = 64;

    private HookNames() { }

    /** In the order in which before-checkpoint hooks run, the last registered first. */
    @SuppressWarnings("unchecked")
    static List<String> of(Object context) {
        List<String> names = new ArrayList<>();
        try {
            Field queue = context.getClass().getDeclaredField("checkpointQueue");
            queue.setAccessible(true);
            List<Map.Entry<Resource, Long>> all = new ArrayList<>(((Map<Resource, Long>) queue.get(context)).entrySet());
            all.sort((a, b) -> Long.compare(b.getValue(), a.getValue()));
            for (Map.Entry<Resource, Long> entry : all.subList(0, Math.min(all.size(), MAX))) {
                names.add(nameOf(entry.getKey()));
            }
        } catch (ReflectiveOperationException | RuntimeException e) {
            names.clear(); // another client than the one we know
        }
        return names;
    }

    /** org.crac registers a proxy, whose handler has a weak reference to what the function registered. */
    private static String nameOf(Object resource) {
        Object is = resource;
        if (Proxy.isProxyClass(is.getClass()) && Proxy.getInvocationHandler(is) instanceof Reference) {
            is = ((Reference<?>) Proxy.getInvocationHandler(is)).get();
        }
        return is == null ? "?" : is.getClass().getName();
    }

    static void tell(List<String> names) {
        String api = System.getenv("AWS_LAMBDA_RUNTIME_API");
        if (names.isEmpty() || api == null) {
            return;
        }
        StringBuilder body = new StringBuilder("{\"hooks\":[");
        for (String name : names) { // names of classes need no escapes but for these
            body.append(body.charAt(body.length() - 1) == '[' ? "\"" : ",\"").append(name.replace("\\", "").replace("\"", "")).append('"');
        }
        byte[] text = body.append("]}").toString().getBytes(StandardCharsets.UTF_8);
        String head = "PUT /2026-01-01/thaw/snapshot HTTP/1.1\r\nHost: " + api + "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
            + text.length + "\r\n\r\n";
        int colon = api.lastIndexOf(':');
        try (Socket socket = new Socket(api.substring(0, colon), Integer.parseInt(api.substring(colon + 1)))) {
            socket.getOutputStream().write(head.getBytes(StandardCharsets.US_ASCII));
            socket.getOutputStream().write(text);
            InputStream in = socket.getInputStream();
            byte[] buffer = new byte[512];
            while (in.read(buffer) >= 0) { // until it was taken
            }
        } catch (IOException | RuntimeException e) {
            System.err.println("thaw: names of hooks not told: " + e);
        }
    }
}
