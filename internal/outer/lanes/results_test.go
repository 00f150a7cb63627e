package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A lane's last line counts tests without parts, says why others were skipped, and passes over no failure.
func TestLine(t *testing.T) {
	const parts = `{"Action":"run","Package":"thaw/p","Test":"TestA"}
{"Action":"run","Package":"thaw/p","Test":"TestA/one"}
{"Action":"output","Package":"thaw/p","Test":"TestA/one","Output":"=== RUN   TestA/one\n"}
{"Action":"pass","Package":"thaw/p","Test":"TestA/one","Elapsed":1.5}
{"Action":"run","Package":"thaw/p","Test":"TestA/two"}
{"Action":"output","Package":"thaw/p","Test":"TestA/two","Output":"    a_test.go:7: no KVM\n"}
{"Action":"output","Package":"thaw/p","Test":"TestA/two","Output":"    --- SKIP: TestA/two (0.00s)\n"}
{"Action":"skip","Package":"thaw/p","Test":"TestA/two","Elapsed":0}
{"Action":"pass","Package":"thaw/p","Test":"TestA","Elapsed":1.5}
{"Action":"pass","Package":"thaw/p","Elapsed":2}
`
	for name, c := range map[string]struct {
		events, want string
		err          error
		failed       bool
	}{
		"ran and skipped": {parts, "1 ran, 1 skipped (no KVM: 1)", nil, false},
		"nothing":         {"", "0 ran, 0 skipped", nil, false},
		"missing":         {"", "skipped: no QEMU", &missingError{"no QEMU"}, false},
		"a boot that hung": {`{"Action":"output","Package":"thaw/p","Test":"TestA","Output":"    a boot hung for 1m0s and is tried once more: why\n"}
{"Action":"pass","Package":"thaw/p","Test":"TestA","Elapsed":61}
`, "1 ran, 0 skipped, 1 boots hung and were tried once more", nil, false},
		"a failure": {parts + `{"Action":"output","Package":"thaw/p","Test":"TestB","Output":"broken\n"}
{"Action":"fail","Package":"thaw/p","Test":"TestB","Elapsed":0}
{"Action":"fail","Package":"thaw/p","Elapsed":0}
`, "2 ran, 1 skipped (no KVM: 1), 1 FAILED, FAILED: thaw/p", nil, true},
		"one that never ended": {parts + `{"Action":"run","Package":"thaw/p","Test":"TestB"}
`, "2 ran, 1 skipped (no KVM: 1), 1 FAILED", nil, true},
		"what does not compile": {`{"ImportPath":"thaw/p","Action":"build-output","Output":"x.go:1: oh\n"}
{"ImportPath":"thaw/p","Action":"build-fail"}
{"Action":"fail","Package":"thaw/p","Elapsed":0,"FailedBuild":"thaw/p"}
`, "0 ran, 0 skipped, FAILED: thaw/p", nil, true},
		"an error": {"", "0 ran, 0 skipped, FAILED: oh", errors.New("oh"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := &results{out: &out}
			if err := r.read(strings.NewReader(c.events)); err != nil {
				t.Fatal(err)
			}
			if got := r.line(c.err); got != c.want || r.failed() != c.failed {
				t.Errorf("%q, failed %v; want %q\n%s", got, r.failed(), c.want, out.String())
			}
			if c.failed && !strings.Contains(out.String(), "broken") && !strings.Contains(out.String(), "oh") && name != "one that never ended" {
				t.Errorf("what failed is not printed:\n%s", out.String())
			}
		})
	}
}
