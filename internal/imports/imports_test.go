// Package imports holds the test that keeps imports running one way.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// rule forbids packages below from to import packages below to.
type rule struct{ from, to, reason string }

var rules = []rule{
	{"pool", "jetstream", "the pool must run in a test without a broker"},
	{"pool", "api", "the pool knows invocations, not HTTP"},
	{"pool", "sandbox/gvisor", "the pool must run on any sandbox"},
	{"invoke", "api", "whoever has events for functions calls it, with HTTP or without"},
	{"invoke", "net/http", "whoever has events for functions calls it, with HTTP or without"},
	{"invoke", "jetstream", "the invoker must run in a test without a broker"},
	{"controlplane", "api", "whoever changes functions calls it, with HTTP or without"},
	{"controlplane", "jetstream", "the control plane speaks to the store that function declares"},
	{"controlplane", "execenv", "the control plane knows the pool, not environments"},
	{"async", "api", "whoever has events for functions calls it, with HTTP or without"},
	{"async", "net/http", "whoever has events for functions calls it, with HTTP or without"},
	{"async", "jetstream", "what becomes of an event must be tested without a broker"},
	{"async", "destination", "what becomes of an event must be tested without other services"},
	{"execenv", "sandbox/gvisor", "an environment must run on any sandbox"},
	{"execenv", "sandbox/process", "an environment must run on any sandbox"},
	{"execenv", "pool", "an environment does not know who hands it out"},
	{"execenv", "runtimes", "how a runtime is found is decided before an environment is made"},
	{"execenv", "api", "an environment's life is the same whoever asks for it"},
	{"function", "", "function is pure: it holds what everything else is about"},
	{"snapstart", "pool", "making and lending must run in a test with fakes: snapstart/needs.go says what is needed"},
	{"snapstart", "runtimes", "making and lending must run in a test with fakes: snapstart/needs.go says what is needed"},
	{"snapstart", "jetstream", "making and lending must run in a test without a broker"},
	{"snapstart", "api", "the control plane asks for snapshots, not the other way round"},
	{"guest/wire", "", "the wire is all that the server and the guest share, so it drags nothing into the guest"},
	{"guest", "pool", "the guest runs inside the sandbox and must stay small"},
	{"guest", "execenv", "the guest meets the host only in guest/wire"},
	{"guest", "sandbox", "the guest does not know what isolates it"},
	{"runtimeapi", "execenv", "the Runtime API is served inside the sandbox"},
	{"runtimeapi", "sandbox", "the Runtime API is served inside the sandbox"},
	{"cmd/thaw-guest", "node", "the guest carries nothing of the server"},
	{"cmd/thaw-sandbox", "node", "it is started three times a sandbox: what it links is paid three times"},
	{"jetstream", "api", "adapters never import each other"},
	{"blob", "jetstream", "adapters never import each other"},
	{"api", "jetstream", "the API speaks to the store that function declares"},
	{"api", "execenv", "the API knows the pool, not environments"},
}

// only lists outside modules that one package alone may import.
var only = []rule{
	{"jetstream", "github.com/nats-io/", "exactly one package knows the broker"},
	{"destination", "github.com/aws/aws-sdk-go-v2/config", "exactly one package calls other services of AWS"},
	{"blob", "gocloud.dev/", "exactly one package knows the blob library"},
	{"cmd/thaw-sandbox", "gvisor.dev/", "a gVisor upgrade must touch the sandbox's own program and nothing else"},
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports", "thaw/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, "thaw/")
		for _, imp := range p.Imports {
			if imp == "thaw/node" && !strings.HasPrefix(name, "cmd/") && !below(name, "bench") {
				t.Errorf("%s imports node: only commands know the composition root", name)
			}
			for _, r := range rules {
				ours, isOurs := strings.CutPrefix(imp, "thaw/")
				if isOurs && below(name, r.from) && !below(ours, r.from) && (r.to == "" || below(ours, r.to)) {
					t.Errorf("%s imports %s: %s", name, ours, r.reason)
				}
			}
			for _, o := range only {
				if strings.HasPrefix(imp, o.to) && !below(name, o.from) {
					t.Errorf("%s imports %s: %s", name, imp, o.reason)
				}
			}
		}
	}
}

// below says whether a package is dir or lies in it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
