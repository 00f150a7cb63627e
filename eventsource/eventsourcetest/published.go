package eventsourcetest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Typed reads an event into the type that AWS publishes for it, which has to know every member, and holds that nothing is
// lost on the way.
func Typed[T any](t testing.TB, event []byte) {
	t.Helper()
	var typed T
	d := json.NewDecoder(bytes.NewReader(event))
	if d.DisallowUnknownFields(); d.Decode(&typed) != nil {
		t.Errorf("%T does not know all members of %s", typed, event)
		return
	}
	again, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := anyOf(t, again), anyOf(t, event); !reflect.DeepEqual(got, want) {
		t.Errorf("%T has\n%s\nof\n%s", typed, again, event)
	}
}

func anyOf(t testing.TB, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// LikeSample holds an event against a sample of aws-lambda-go: the same members with values of the same types. The names of
// members of these objects are the sender's own.
func LikeSample(t testing.TB, event []byte, sample string, senders ...string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "events", "testdata", sample))
	if err != nil {
		t.Fatal(err)
	}
	LikeJSON(t, event, b, senders...)
}

// LikeJSON holds an event against a sample that stands elsewhere.
func LikeJSON(t testing.TB, event, sample []byte, senders ...string) {
	t.Helper()
	for _, d := range differences("", anyOf(t, event), anyOf(t, sample), senders) {
		t.Error(d)
	}
}

func differences(at string, got, want any, senders []string) (all []string) {
	switch want := want.(type) {
	case nil: // of any type
		return nil
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, no object", at, got)}
		}
		for _, s := range senders {
			if strings.HasSuffix(at, "."+s) {
				return differences(at+"[]", first(g), first(want), senders)
			}
		}
		for k, v := range want {
			if _, ok := g[k]; !ok {
				all = append(all, at+"."+k+" is not there")
				continue
			}
			all = append(all, differences(at+"."+k, g[k], v, senders)...)
		}
		for k := range g {
			if _, ok := want[k]; !ok {
				all = append(all, at+"."+k+" is not in the sample")
			}
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) == 0 {
			return []string{fmt.Sprintf("%s is %v, no list", at, got)}
		}
		return differences(at+"[]", g[0], want[0], senders)
	}
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		return []string{fmt.Sprintf("%s is %v, and %v in the sample", at, got, want)}
	}
	return nil
}

// first is the value of the first member by name.
func first(m map[string]any) any {
	least := ""
	for k := range m {
		if least == "" || k < least {
			least = k
		}
	}
	return m[least]
}

//go:embed testdata/powertools.py
var powertools []byte

// Powertools reads an event with Powertools for AWS Lambda (Python), and holds what it finds against JSON. kind is a
// function of testdata/powertools.py.
func Powertools(t testing.TB, kind string, event []byte, want string, more ...string) {
	t.Helper()
	env := Python(t, "aws-lambda-powertools[parser,kafka-consumer-avro]==3.37.0")
	program := filepath.Join(t.TempDir(), "powertools.py")
	if err := os.WriteFile(program, powertools, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(env, "bin", "python"), append([]string{program, kind, string(event)}, more...)...)
	var failure bytes.Buffer
	c.Stderr = &failure
	out, err := c.Output()
	if err != nil {
		t.Fatalf("Powertools cannot read %s: %v\n%s", event, err, failure.String())
	}
	if !reflect.DeepEqual(anyOf(t, out), anyOf(t, []byte(want))) {
		t.Errorf("Powertools finds\n%s\nwant\n%s\nof %s", out, want, event)
	}
}
