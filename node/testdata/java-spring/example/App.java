package example;

import com.amazonaws.serverless.exceptions.ContainerInitializationException;
import com.amazonaws.serverless.proxy.model.AwsProxyRequest;
import com.amazonaws.serverless.proxy.model.AwsProxyResponse;
import com.amazonaws.serverless.proxy.spring.SpringBootLambdaContainerHandler;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.*;
import java.util.*;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.*;

@SpringBootApplication
@RestController
public class App implements RequestStreamHandler {
    private static final SpringBootLambdaContainerHandler<AwsProxyRequest, AwsProxyResponse> handler;
    static {
        try {
            handler = SpringBootLambdaContainerHandler.getAwsProxyHandler(App.class);
        } catch (ContainerInitializationException e) {
            throw new IllegalStateException(e);
        }
    }
    private final String made = UUID.randomUUID().toString();

    @GetMapping("/pets/{name}")
    public Map<String, Object> pet(@PathVariable("name") String name) { return Map.of("name", name, "made", made); }

    @Override
    public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException { handler.proxyStream(in, out, context); }
}
