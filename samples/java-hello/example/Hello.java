package example;

import java.util.LinkedHashMap;
import java.util.Map;

/** Greets, and says which invocation of its environment this is. Needs no library: the client finds the method by its name. */
public class Hello {
    private int count;

    public Map<String, Object> handle(Map<String, Object> event) {
        Object name = event.getOrDefault("name", "world");
        System.out.println("hello " + name);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("greeting", "Hello, " + name + "!");
        answer.put("invocation", ++count);
        answer.put("java", System.getProperty("java.version"));
        return answer;
    }
}
