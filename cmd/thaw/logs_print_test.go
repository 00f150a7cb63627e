package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"thaw/logstore"
)

func TestColoursOfLogs(t *testing.T) {
	for message, want := range map[string]string{
		"START RequestId: x Version: $LATEST\n":                                    "PLATFORM",
		`{"time":"2026-11-01T12:00:00.000Z","type":"platform.report","record":{}}`: "PLATFORM",
		"2026-11-01T12:00:00.000Z\tid\tERROR\tInvoke Error\t{}\n":                  "ERROR",
		"[WARNING]\t2026-11-01T12:00:00.000Z\tid\tcareful\n":                       "WARN",
		`{"timestamp":"x","level":"FATAL","message":"m"}`:                          "ERROR",
		"2026-11-01T12:00:00.000Z id Task timed out after 3.00 seconds\n":          "ERROR",
		"2026-11-01T12:00:00.000Z\tid\tINFO\tan ERROR in the text\n":               "",
		"STARTED\n": "",
	} {
		if got := levelOf(message); got != want {
			t.Errorf("%q is %q, want %q", message, got, want)
		}
	}
	var out bytes.Buffer
	r := lipgloss.NewRenderer(&out)
	r.SetColorProfile(termenv.ANSI)
	names := []string{"orders", "mail"}
	p := newLogPrinter(&app{out: &out, output: "text"}, false, names)
	p.colour(r, names)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.Local).UnixMilli()
	for _, e := range []logstore.Event{{Message: "plain\n"}, {Message: "[ERROR] a\tb\x1b[2J\n  second\n"}, {Message: "END RequestId: x\n"}} {
		e.Time, e.Stream = at, "2026/11/01/[$LATEST]0123456789abcdef"
		if err := p.print("mail", "/aws/lambda/mail", e); err != nil {
			t.Fatal(err)
		}
	}
	const head = "\x1b[2m2026-11-01 12:00:00.000\x1b[0m  \x1b[35mmail    \x1b[0m0123456789ab  "
	want := head + "plain\n" + head + "\x1b[31m[ERROR] a\tb^[[2J\x1b[0m\n\x1b[31m  second\x1b[0m\n" + head + "\x1b[2mEND RequestId: x\x1b[0m\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	out.Reset()
	if err := newLogPrinter(&app{out: &out, output: "text"}, false, names).print("mail", "/aws/lambda/mail", logstore.Event{Time: at, Message: "[ERROR] x"}); err != nil || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "  mail    ") {
		t.Errorf("where nobody looks: %q, %v", out.String(), err)
	}
}
