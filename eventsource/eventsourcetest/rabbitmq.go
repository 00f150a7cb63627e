package eventsourcetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitMQ starts Debian's RabbitMQ, with the virtual hosts / and shop, and the users lambda and guard, whose password is
// secret. guard may read nothing. What its durable queues hold survives a kill.
func RabbitMQ(t testing.TB) (url string, p *Process) {
	t.Helper()
	root := Debian(t, "rabbitmq-server", "erlang-base", "erlang-asn1", "erlang-crypto", "erlang-eldap", "erlang-ftp", "erlang-inets",
		"erlang-mnesia", "erlang-os-mon", "erlang-parsetools", "erlang-public-key", "erlang-runtime-tools", "erlang-snmp", "erlang-ssl", "erlang-syntax-tools",
		"erlang-tftp", "erlang-tools", "erlang-xmerl", "libsctp1")
	dir := Dir(t)
	// Erlang's start script knows the folder that it was built for, and no other.
	erlang := filepath.Join(root, "usr/lib/erlang")
	script, err := os.ReadFile(filepath.Join(erlang, "bin/erl"))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	writeFile(t, filepath.Join(bin, "erl"), strings.ReplaceAll(string(script), "ROOTDIR=/usr/lib/erlang", "ROOTDIR="+erlang))
	epmds, err := filepath.Glob(filepath.Join(erlang, "erts-*/bin/epmd"))
	if err != nil || len(epmds) != 1 {
		t.Fatalf("epmd: %v, %v", epmds, err)
	}
	servers, err := filepath.Glob(filepath.Join(root, "usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"))
	if err != nil || len(servers) != 1 {
		t.Fatalf("rabbitmq-server: %v, %v", servers, err)
	}

	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil || len(libraries) == 0 {
		t.Fatalf("libsctp: %v, %v", libraries, err)
	}

	port, names, distribution := Port(t), Port(t), Port(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	writeFile(t, filepath.Join(dir, "rabbitmq.conf"), fmt.Sprintf("listeners.tcp.1 = %s\nload_definitions = %s\n", address, filepath.Join(dir, "definitions.json")))
	writeFile(t, filepath.Join(dir, "definitions.json"), rabbitDefinitions(t))
	// The broker would start the name server of Erlang as a daemon, which outlives it.
	Launch(t, Program{
		Args: []string{epmds[0], "-address", "127.0.0.1", "-port", fmt.Sprint(names)}, Ready: Listens(fmt.Sprintf("127.0.0.1:%d", names)),
	})
	url = "amqp://" + address
	p = Launch(t, Program{
		Args: []string{servers[0]},
		Env: []string{
			"PATH=" + bin + ":" + filepath.Join(erlang, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir,
			"LD_LIBRARY_PATH=" + libraries[0], "ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprintf("ERL_EPMD_PORT=%d", names),
			"RUNNING_UNDER_SYSTEMD=1", // the script becomes the broker, and has no child that outlives it
			"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"), "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"), "RABBITMQ_LOGS=-",
			"RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "plugins"), "RABBITMQ_NODENAME=thaw@localhost",
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", distribution), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		},
		Ready: func() bool {
			c, err := amqp.DialConfig(url, amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "lambda", Password: "secret"}}})
			if err == nil {
				c.Close()
			}
			return err == nil
		},
	})
	return url, p
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// rabbitDefinitions are what the broker begins with: the user lambda, and another one who may read nothing.
func rabbitDefinitions(t testing.TB) string {
	t.Helper()
	hash := func(password string) string {
		sum := sha256.Sum256([]byte("salt" + password))
		return base64.StdEncoding.EncodeToString(append([]byte("salt"), sum[:]...))
	}
	type object map[string]any
	user := func(name string) object {
		return object{"name": name, "password_hash": hash("secret"), "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
	}
	may := func(name, vhost, what string) object {
		return object{"user": name, "vhost": vhost, "configure": what, "write": what, "read": what}
	}
	b, err := json.Marshal(object{
		"users": []object{user("lambda"), user("guard")}, "vhosts": []object{{"name": "/"}, {"name": "shop"}},
		"permissions": []object{may("lambda", "/", ".*"), may("lambda", "shop", ".*"), may("guard", "/", "^$")},
		"queues":      []object{}, "exchanges": []object{}, "bindings": []object{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
