package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thaw/eventsource/eventsourcetest"
	"thaw/node/embedded"
)

// Each demonstration says what it should, and leaves neither processes nor files. THAW_TEST_SOURCES are those that are
// tried, separated by blanks, or all; without it those whose servers start soonest.
func TestDemonstrations(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("the function is for Node.js, which is not here")
	}
	names := []string{"sqs", "documentdb"}
	if asked := os.Getenv("THAW_TEST_SOURCES"); asked == "all" {
		names = all()
	} else if asked != "" {
		names = strings.Fields(asked)
	}
	exe := filepath.Join(t.TempDir(), "thaw")
	flags := []string{"build", "-ldflags=-s -w", "-o", exe}
	if embedded.Carried() { // make build came before, whose packages are compiled already; without -trimpath thaw builds its guest from source
		flags = append(flags, "-trimpath")
	}
	build := exec.Command("go", append(flags, "thaw/cmd/thaw")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	from := map[string]string{ // what the function prints of where a record comes from
		"activemq": "orders", "documentdb": "shop.orders insert", "dynamodb": "INSERT", "kafka": `orders-[012] offset \d+ key customer-[012]`,
		"kinesis": `shardId-\d{12}:\d+ key customer-[012]`, "msk": `orders-[012] offset \d+ key customer-[012]`, "rabbitmq": "orders::/", "sqs": "arn:aws:sqs:eu-west-1:123456789012:orders",
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			var out bytes.Buffer
			err := show(t.Context(), sources[name], demo{out: &out, thaw: exe, folder: "../" + function})
			if errors.As(err, new(*eventsourcetest.MissingError)) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			t.Log("\n" + out.String())
			want := []string{`source +Ama.*|source +Apache Kafka at .*`, `server +http://127\.0\.0\.1:\d+`, `function +nodejs-source`, `mapping +[0-9a-f-]{36} is Enabled`,
				`records +5 were put`, `seen +all of them, after at most \d+\.\d s:`}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) < len(want)+6 {
				t.Fatalf("%d lines", len(lines))
			}
			for i, w := range want {
				if !regexp.MustCompile("^(" + w + ")$").MatchString(lines[i]) {
					t.Errorf("line %d is %q, want %s", i+1, lines[i], w)
				}
			}
			records := lines[len(want) : len(lines)-1]
			for n := range 5 {
				city := []string{"Oslo", "Porto", "Turin"}[n%3]
				record := fmt.Sprintf(`^ +record from %s: \{.*"order":(\{"N":")?%d\b.*"city":(\{"S":)?"%s".*\}$`, from[name], n, city)
				other := fmt.Sprintf(`^ +record from %s: \{.*"city":(\{"S":)?"%s".*"order":(\{"N":")?%d\b.*\}$`, from[name], city, n)
				if !regexp.MustCompile("(?m)" + record + "|" + other).MatchString(strings.Join(records, "\n")) {
					t.Errorf("no line tells of order %d", n)
				}
			}
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "end ") {
				t.Errorf("the last line is %q", last)
			}
			left, err := os.ReadDir(temporary)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range left {
				t.Errorf("%s is left", e.Name())
			}
			processes, err := filepath.Glob("/proc/[0-9]*/environ")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range processes {
				if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte("TMPDIR="+temporary)) && filepath.Dir(p) != fmt.Sprintf("/proc/%d", os.Getpid()) {
					said, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
					t.Errorf("a process is left: %q", said)
				}
			}
		})
	}
}
