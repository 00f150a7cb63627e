package eventsourcetest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// ElasticMQ starts a server of SQS in eu-west-1, of the account 123456789012. What its queues hold survives a kill.
func ElasticMQ(t testing.TB) (endpoint string, p *Process) {
	t.Helper()
	jars := Maven(t, "org.elasticmq:elasticmq-server_2.13:1.6.14")
	port, dir := Port(t), Dir(t)
	conf := filepath.Join(dir, "elasticmq.conf")
	text := fmt.Sprintf(`include classpath("application.conf")
node-address { host = "127.0.0.1", port = %d }
rest-sqs { enabled = true, bind-port = %d, bind-hostname = "127.0.0.1" }
rest-stats { enabled = false }
aws { region = "eu-west-1", accountId = "123456789012" }
messages-storage { enabled = true, uri = %q }
`, port, port, "jdbc:h2:"+filepath.Join(dir, "messages")+";WRITE_DELAY=0")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint = fmt.Sprintf("http://127.0.0.1:%d", port)
	return endpoint, Launch(t, Program{Args: []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dconfig.file=" + conf, "-cp", filepath.Join(jars, "*"), "org.elasticmq.server.Main"},
		Ready: func() bool {
			resp, err := http.Get(endpoint + "/?Action=ListQueues")
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}})
}
