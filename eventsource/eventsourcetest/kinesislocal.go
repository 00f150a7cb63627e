package eventsourcetest

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

var kinesisLocal struct {
	sync.Mutex
	endpoint string
}

// onLoopback has a program of Node listen on the loopback alone, whatever it asks for.
const onLoopback = `const net = require("net"), listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  if (port !== null && typeof port === "object") return listen.call(this, { ...port, host: "127.0.0.1" }, ...rest)
  return listen.call(this, port, "127.0.0.1", ...rest.filter((a) => typeof a === "function"))
}
`

// KinesisLocal starts kinesis-local, a server of Kinesis whose shards can be split and merged and are read to their end
// afterwards, once for all tests of a package. It speaks HTTP/1.1, and its subscriptions begin without initial-response.
// What it has is lost when it ends.
func KinesisLocal(t testing.TB) (endpoint string) {
	t.Helper()
	kinesisLocal.Lock()
	defer kinesisLocal.Unlock()
	if kinesisLocal.endpoint == "" {
		kinesisLocal.endpoint, _ = launchKinesisLocal(t)
	}
	return kinesisLocal.endpoint
}

// MortalKinesisLocal starts a kinesis-local that the test may stop and start. What it had before survives that.
func MortalKinesisLocal(t testing.TB) (endpoint string, stop, start func(testing.TB)) {
	t.Helper()
	dir := Dir(t)
	endpoint, p := launchKinesisLocal(t, "SHOULD_PERSIST_DATA=true", "PERSIST_PATH="+dir, "PERSIST_INTERVAL=300ms")
	written := func() (at time.Time) {
		if info, err := os.Stat(filepath.Join(dir, "kinesis-data.json")); err == nil {
			at = info.ModTime()
		}
		return at
	}
	stop = func(t testing.TB) {
		t.Helper()
		for range 2 { // the second time it has begun to write after the call; it is not killed while it writes
			before := written()
			Until(t, "kinesis-local has stored what it has", func() bool { return written().After(before) })
		}
		time.Sleep(50 * time.Millisecond)
		p.Kill()
	}
	return endpoint, stop, p.Start
}

func launchKinesisLocal(t testing.TB, env ...string) (endpoint string, p *Process) {
	t.Helper()
	plain, secure := strconv.Itoa(Port(t)), strconv.Itoa(Port(t))
	preload := filepath.Join(Dir(t), "loopback.js")
	if err := os.WriteFile(preload, []byte(onLoopback), 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + plain, Launch(t, Program{
		Args: []string{"node", "-r", preload, "main.js"}, Dir: filepath.Join(Node(t, "kinesis-local@0.6.2"), "node_modules", "kinesis-local"),
		Env: append(env, "KINESIS_MOCK_PLAIN_PORT="+plain, "KINESIS_MOCK_TLS_PORT="+secure, "AWS_ACCOUNT_ID=123456789012",
			"AWS_REGION=eu-west-1", "LOG_LEVEL=ERROR",
			"SHARD_LIMIT=1000", "CREATE_STREAM_DURATION=50ms", "REGISTER_STREAM_CONSUMER_DURATION=50ms", "SPLIT_SHARD_DURATION=50ms", "MERGE_SHARDS_DURATION=50ms"),
		Ready: Listens("127.0.0.1:" + plain),
	})
}
