import com.sun.net.httpserver.HttpServer;
import java.io.File;
import java.net.InetSocketAddress;
import java.util.List;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.plugin.StatisticsBrokerPlugin;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.AuthorizationEntry;
import org.apache.activemq.security.AuthorizationPlugin;
import org.apache.activemq.security.DefaultAuthorizationMap;
import org.apache.activemq.security.SimpleAuthenticationPlugin;
import org.apache.activemq.store.kahadb.KahaDBPersistenceAdapter;

/** A broker of ActiveMQ with AMQP: the user lambda may do everything, the user guard nothing. */
public class Broker {
    public static void main(String[] args) throws Exception {
        int amqp = Integer.parseInt(args[0]), http = Integer.parseInt(args[1]);
        KahaDBPersistenceAdapter store = new KahaDBPersistenceAdapter();
        store.setDirectory(new File(args[2]));
        store.setJournalMaxFileLength(4 << 20);
        store.setJournalDiskSyncStrategy("never"); // tests kill the broker, not the host

        AuthorizationEntry all = new AuthorizationEntry();
        all.setDestination(new ActiveMQQueue(">"));
        all.setRead("users");
        all.setWrite("users");
        all.setAdmin("users");
        DefaultAuthorizationMap rights = new DefaultAuthorizationMap();
        rights.setAuthorizationEntries(List.of(all));

        BrokerService broker = new BrokerService();
        broker.setBrokerName("tests");
        broker.setUseJmx(false);
        broker.setAdvisorySupport(false);
        broker.setUseShutdownHook(false);
        broker.setPersistenceAdapter(store);
        broker.setPlugins(new BrokerPlugin[] {
            new SimpleAuthenticationPlugin(List.of(new AuthenticationUser("lambda", "secret", "users"), new AuthenticationUser("guard", "secret", "guards"))),
            new AuthorizationPlugin(rights),
            new StatisticsBrokerPlugin(),
        });
        broker.addConnector("amqp://127.0.0.1:" + amqp);
        broker.start();
        broker.waitUntilStarted();

        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", http), 0);
        server.createContext("/", exchange -> { // GET /left?QUEUE: how many messages it has. GET /send?QUEUE: one of each type of JMS
            String answer;
            int status = 200;
            try {
                String queue = exchange.getRequestURI().getQuery();
                if (exchange.getRequestURI().getPath().equals("/send")) {
                    send(queue);
                    answer = "sent";
                } else {
                    var destination = broker.getDestination(new ActiveMQQueue(queue));
                    answer = Long.toString(destination.getDestinationStatistics().getMessages().getCount());
                }
            } catch (Exception e) {
                status = 500;
                answer = e.toString();
            }
            byte[] b = answer.getBytes();
            exchange.sendResponseHeaders(status, b.length);
            exchange.getResponseBody().write(b);
            exchange.close();
        });
        server.start();
    }

    static void send(String queue) throws Exception {
        var factory = new ActiveMQConnectionFactory("lambda", "secret", "vm://tests?create=false");
        factory.setWatchTopicAdvisories(false);
        try (var connection = factory.createConnection(); var session = connection.createSession()) {
            var producer = session.createProducer(session.createQueue(queue));
            var map = session.createMapMessage();
            map.setString("k", "v");
            producer.send(map);
            var stream = session.createStreamMessage();
            stream.writeInt(1);
            producer.send(stream);
            producer.send(session.createObjectMessage("object"));
            var bytes = session.createBytesMessage();
            bytes.writeBytes(new byte[] {0, -1});
            producer.send(bytes);
            var text = session.createTextMessage("ABC");
            text.setJMSCorrelationID("c");
            text.setJMSType("t");
            text.setJMSReplyTo(session.createQueue("answers"));
            text.setStringProperty("k", "v");
            text.setIntProperty("n", 7);
            text.setBooleanProperty("b", true);
            producer.send(text, jakarta.jms.DeliveryMode.NON_PERSISTENT, 1, 3_600_000);
        }
    }
}
