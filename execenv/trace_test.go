package execenv

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTraceHeader(t *testing.T) {
	for _, given := range []string{
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
		"Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678", // a load balancer's
		"Sampled=?; Root=1-5759e988-bd862e3fe1be46a994272793",
	} {
		if got := traceHeader(given); got != given {
			t.Errorf("%q became %q", given, got)
		}
	}
	if got := traceHeader("Sampled=1;Lineage=1:037bed70:3"); !strings.HasSuffix(got, ";Lineage=1:037bed70:3") || !strings.HasPrefix(got, "Root=1-") {
		t.Errorf("a lineage without a root became %q", got)
	}
	form := regexp.MustCompile(`^Root=1-([0-9a-f]{8})-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`)
	seen := map[string]bool{}
	for _, given := range []string{"", "", "Sampled=1", "Root=", "Parent=53995c3f42cd8ad8;Sampled=1"} {
		got := traceHeader(given)
		m := form.FindStringSubmatch(got)
		if m == nil || seen[got] {
			t.Fatalf("for %q: %q, want a new root", given, got)
		}
		seen[got] = true
		var began int64
		if _, err := fmt.Sscanf(m[1], "%x", &began); err != nil || time.Since(time.Unix(began, 0)).Abs() > time.Minute {
			t.Errorf("%q was not made now: %v", got, err)
		}
	}
}
