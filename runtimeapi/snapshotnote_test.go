package runtimeapi

import (
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
)

func TestSnapshotNote(t *testing.T) {
	const path = snapshotAt
	s := serve(t, Options{SnapStart: true})
	c := s.dial()
	put := func(body string) (int, string) {
		t.Helper()
		return c.doAt("PUT", path, body)
	}
	for name, tc := range map[string]struct {
		body string
		in   time.Duration
	}{
		"seconds":            {`{"ttlSeconds": 90}`, 90 * time.Second},
		"a part of a second": {`{"ttlSeconds": 0.5}`, 500 * time.Millisecond},
		"a time":             {`{"expires": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano) + `"}`, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := put(tc.body); status != 202 {
				t.Fatalf("%d %s", status, body)
			}
			m := s.said(wire.KindSnapshotNote).head.(wire.SnapshotNote)
			if in := time.Until(time.UnixMilli(m.ExpiresUnixMs)); m.Generation != 7 || in > tc.in || in < tc.in-patience {
				t.Errorf("generation %d, in %v; want within %v", m.Generation, in, tc.in)
			}
		})
	}
	t.Run("hooks that ran", func(t *testing.T) {
		if status, body := put(`{"hooks": ["close", "` + strings.Repeat("x", 2*maxHookName) + `"]}`); status != 202 {
			t.Fatalf("%d %s", status, body)
		}
		m := s.said(wire.KindSnapshotNote).head.(wire.SnapshotNote)
		if m.Generation != 7 || m.ExpiresUnixMs != 0 || len(m.Hooks) != 2 || m.Hooks[0] != "close" || len(m.Hooks[1]) != maxHookName {
			t.Errorf("%+v", m)
		}
	})
	for name, body := range map[string]string{
		"hooks and an end":   `{"hooks": [], "ttlSeconds": 1}`,
		"hooks of no names":  `{"hooks": [1]}`,
		"nothing":            ``,
		"no object":          `[]`,
		"neither":            `{}`,
		"both":               `{"ttlSeconds": 1, "expires": "2090-01-01T00:00:00Z"}`,
		"no number":          `{"ttlSeconds": "soon"}`,
		"no time":            `{"expires": "tomorrow"}`,
		"zero":               `{"ttlSeconds": 0}`,
		"less than nothing":  `{"ttlSeconds": -1e300}`,
		"the past":           `{"expires": "2001-01-01T00:00:00Z"}`,
		"more than a year":   `{"ttlSeconds": 1e300}`,
		"a far away century": `{"expires": "2999-01-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := put(body)
			expect(t, name, status, answer, 400, errBadRequest)
		})
	}
	t.Run("another method", func(t *testing.T) {
		status, answer := c.doAt("POST", path, `{"ttlSeconds": 1}`)
		expect(t, "POST", status, answer, 405, errMethodNotAllowed)
	})
	s.quiet()
	t.Run("after the snapshot point", func(t *testing.T) {
		c.send("GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: x\r\n\r\n")
		s.said(wire.KindReady)
		status, answer := s.dial().doAt("PUT", path, `{"ttlSeconds": 1}`)
		expect(t, "late", status, answer, 403, errInvalidStateTransition)
	})
	t.Run("without SnapStart", func(t *testing.T) {
		status, answer := serve(t, Options{}).dial().doAt("PUT", path, `{"ttlSeconds": 1}`)
		expect(t, "on demand", status, answer, 404, errNotFound)
	})
}

func FuzzNote(f *testing.F) {
	for _, s := range []string{`{"ttlSeconds":1}`, `{"expires":"2090-01-01T00:00:00Z"}`, `{"ttlSeconds":1e999}`, `{}`, `{"hooks":["a"]}`} {
		f.Add([]byte(s))
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, b []byte) {
		note, err := readNote(b, now)
		if err != nil {
			return
		}
		if end := time.UnixMilli(note.ExpiresUnixMs); note.Hooks == nil && (end.Before(now) || end.Sub(now) > maxStated) || len(note.Hooks) > maxHooks {
			t.Errorf("%q is %+v", b, note)
		}
	})
}
