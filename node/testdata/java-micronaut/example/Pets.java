package example;

import io.micronaut.core.annotation.Introspected;
import io.micronaut.crac.OrderedResource;
import io.micronaut.function.aws.MicronautRequestHandler;
import jakarta.inject.Inject;
import jakarta.inject.Singleton;
import java.util.Map;
import java.util.UUID;
import org.crac.Context;
import org.crac.Resource;

public class Pets extends MicronautRequestHandler<Map<String, Object>, Map<String, Object>> {
    @Singleton
    public static class Shelter implements OrderedResource {
        private final String made = UUID.randomUUID().toString();
        private String hooks = "";
        Map<String, Object> pet(String name) { return Map.of("name", name, "made", made, "hooks", hooks); }
        @Override public void beforeCheckpoint(Context<? extends Resource> context) { hooks += "before "; }
        @Override public void afterRestore(Context<? extends Resource> context) { hooks += "after"; }
    }
    @Inject Shelter shelter;
    @Override public Map<String, Object> execute(Map<String, Object> event) { return shelter.pet((String) event.get("name")); }
}
