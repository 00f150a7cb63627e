package eventsourcetest

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

//go:embed testdata/Mongo.java
var mongoProgram string

// MongoJava starts mongo-java-server, which somebody else has written after MongoDB's protocol, and gives its address. It has
// change streams of inserts with resume tokens; it begins none at a time, and its events are not whole: they lack the
// namespace, and those of updates are wrong.
func MongoJava(t testing.TB) (uri string) {
	t.Helper()
	for _, name := range []string{"javac", "java", "mvn"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("mongo-java-server needs a JDK and Maven: %v", err)
		}
	}
	jars := filepath.Join(Maven(t, "de.bwaldvogel:mongo-java-server:1.47.0"), "*")
	dir := Dir(t)
	source := filepath.Join(dir, "Mongo.java")
	writeFile(t, source, mongoProgram)
	c := exec.Command("javac", "-J-XX:TieredStopAtLevel=1", "-cp", jars, "-d", filepath.Join(dir, "classes"), source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("the server's program cannot be compiled, which takes Java 17: %v: %s", err, out)
	}
	port := Port(t)
	Launch(t, Program{Args: []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-cp", filepath.Join(dir, "classes") + ":" + jars, "Mongo", strconv.Itoa(port)},
		Dir: dir, Ready: Listens(fmt.Sprintf("127.0.0.1:%d", port))})
	return fmt.Sprintf("mongodb://127.0.0.1:%d", port)
}
