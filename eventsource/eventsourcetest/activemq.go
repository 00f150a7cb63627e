package eventsourcetest

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

//go:embed testdata/Broker.java
var activeMQ string

// ActiveMQ starts ActiveMQ in a program of our own: testdata/Broker.java. It speaks AMQP 1.0 at address, HOST:PORT, and
// ask is the URL at which the program answers. What durable messages its queues hold survives a kill.
func ActiveMQ(t testing.TB) (address, ask string, p *Process) {
	t.Helper()
	for _, name := range []string{"javac", "java", "mvn"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("ActiveMQ needs a JDK and Maven: %v", err)
		}
	}
	const version = ":6.3.1"
	jars := filepath.Join(Maven(t, "org.apache.activemq:activemq-broker"+version, "org.apache.activemq:activemq-amqp"+version,
		"org.apache.activemq:activemq-kahadb-store"+version, "org.apache.activemq:activemq-jaas"+version), "*")
	dir := Dir(t)
	source := filepath.Join(dir, "Broker.java")
	writeFile(t, source, activeMQ)
	c := exec.Command("javac", "-J-XX:TieredStopAtLevel=1", "-cp", jars, "-d", filepath.Join(dir, "classes"), source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("the broker's program cannot be compiled, which takes Java 17: %v: %s", err, out)
	}
	port, asked := Port(t), Port(t)
	return fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", asked), Launch(t, Program{
		Args: []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(dir, "classes") + ":" + jars, "Broker",
			strconv.Itoa(port), strconv.Itoa(asked), filepath.Join(dir, "store")},
		Dir: dir, Ready: Listens(fmt.Sprintf("127.0.0.1:%d", asked)),
	})
}
