package execenv

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// traceHeader is the trace header that a runtime gets with an invocation: the caller's, or, where that names no trace,
// a new root that is not sampled. It is made by the server, so copies of one snapshot cannot repeat it. That the
// service makes one whatever TracingConfig says is documented; the members and their order are as seen in functions
// with PassThrough. Source: AWS X-Ray Developer Guide, Tracing header, Trace ID format; spec 2.4.
func traceHeader(given string) string {
	for part := range strings.SplitSeq(given, ";") {
		if root, ok := strings.CutPrefix(strings.TrimSpace(part), "Root="); ok && root != "" {
			return given
		}
	}
	var b [12 + 8]byte
	rand.Read(b[:]) // never fails: crypto/rand
	made := fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(time.Now().Unix()), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
	for part := range strings.SplitSeq(given, ";") { // the guard against loops goes by it: a new root must not lose it
		if strings.HasPrefix(part, "Lineage=") {
			made += ";" + part
		}
	}
	return made
}
