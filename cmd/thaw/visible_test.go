package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/logstore"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain text", "héllo, 世界 👋\t1\n2", "héllo, 世界 👋\t1\n2"},
		{"a title, and a line that is overwritten", "\x1b]0;owned\x07\rOK\x1b[2K", "^[]0;owned^G^MOK^[[2K"},
		{"backspaces, delete, zero", "a\b\x7f\x00", "a^H^?^@"},
		{"ends of lines of another system", "a\r\nb", "a\nb"},
		{"what escape [ is, in one character", "\u009b2J", "<U+009B>2J"},
		{"a direction that is turned", "a\u202eb\u2066", "a<U+202E>b<U+2066>"},
		{"bytes that are no text", "\xff\x9b2J", "<FF><9B>2J"},
		{"half a character at the end", "a\xe4\xb8", "a<E4><B8>"},
		{"form feed and vertical tab", "\f\v", "^L^K"},
	} {
		if got := visible(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := visibleLine("a\n\tb\r\n"); got != "a^J^Ib^M^J" {
		t.Errorf("on one line: %q", got)
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("\x1b[31m\u009b\r\n\xff世")
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if !utf8.ValidString(got) || visible(got) != got {
			t.Errorf("%q became %q", s, got)
		}
		for _, r := range got {
			if r != '\t' && r != '\n' && (r < ' ' || r == 0x7f || commanding(r)) {
				t.Errorf("%q became %q", s, got)
			}
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		var before, after string
		if json.Unmarshal(b, &before) != nil || json.Unmarshal(escaped(b), &after) != nil || before != after {
			t.Errorf("JSON of %q changed: %s", s, escaped(b))
		}
	})
}

const attack = "\x1b]0;owned\x07\x1b[2J\u009b1m"

func TestNothingOfAFunctionCommandsTheTerminal(t *testing.T) {
	var out, words bytes.Buffer
	a := &app{out: &out, words: &words, output: "text"}
	clean := func(name, s string) {
		t.Helper()
		if s == "" || strings.ContainsAny(s, "\x1b\x07\u009b") {
			t.Errorf("%s: %q", name, s)
		}
	}
	e := logstore.Event{Message: attack + "\n", Stream: "2026/01/01/[$LATEST]" + attack}
	if err := newLogPrinter(a, false, nil).print("f", "/f", e); err != nil {
		t.Fatal(err)
	}
	clean("logs", out.String())
	out.Reset()
	table(&out, [][]string{{attack, "x"}})
	clean("a table", out.String())
	out.Reset()
	a.output = "json"
	if err := newLogPrinter(a, false, nil).print("f", "/f", e); err != nil {
		t.Fatal(err)
	}
	clean("logs as JSON", out.String())
	var back logstore.Event
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Message != e.Message {
		t.Errorf("JSON: %q, %v", back.Message, err)
	}
	out.Reset()
	if err := a.print(map[string]string{"reason": attack}, nil); err != nil {
		t.Fatal(err)
	}
	clean("other JSON", out.String())

	a.output = "text"
	out.Reset()
	answer := &lambda.InvokeOutput{Payload: []byte(attack), LogResult: aws.String("G10wO293bmVkBwo=")} // ESC ]0;owned BEL
	if err := a.printAnswer(answer, false); err != nil {
		t.Fatal(err)
	}
	clean("the tail of an invoke", words.String())
	if out.String() != attack+"\n" {
		t.Errorf("the answer on a stdout that is no terminal: %q", out.String())
	}
	words.Reset()
	out.Reset()
	if err := a.printAnswer(answer, true); err != nil || !strings.Contains(words.String(), "\x1b]0;owned\x07") {
		t.Errorf("the tail with --raw: %q, %v", words.String(), err)
	}
	if err := newLogPrinter(a, true, nil).print("f", "/f", e); err != nil || !strings.Contains(out.String(), attack) {
		t.Errorf("logs with --raw: %q, %v", out.String(), err)
	}
}

// On a terminal the answer's control characters are shown as marks: script(1) gives the child one.
func TestTheAnswerOnATerminal(t *testing.T) {
	if os.Getenv("THAW_TEST_ON_TERMINAL") != "" {
		a := &app{out: os.Stdout, words: os.Stderr, output: "text"}
		if err := a.printAnswer(&lambda.InvokeOutput{Payload: []byte(attack)}, false); err != nil {
			t.Fatal(err)
		}
		return
	}
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("no script(1) to make a terminal with")
	}
	cmd := exec.Command(script, "-qec", os.Args[0]+" -test.run='^TestTheAnswerOnATerminal$'", "/dev/null")
	cmd.Env = append(os.Environ(), "THAW_TEST_ON_TERMINAL=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("^[]0;owned^G")) || bytes.Contains(out, []byte("\x1b]0;owned")) {
		t.Errorf("%v: %q", err, out)
	}
}
