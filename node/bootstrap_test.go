package node

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// documentedBootstrap is the shell runtime of AWS's Developer Guide ("Building a custom runtime"): #!/bin/sh, pipefail, source.
const documentedBootstrap = `#!/bin/sh

set -euo pipefail

# Initialization - load function handler
source $LAMBDA_TASK_ROOT/"$(echo $_HANDLER | cut -d. -f1).sh"

# Processing
while true
do
  HEADERS="$(mktemp)"
  # Get an event. The HTTP request will block until one is received
  EVENT_DATA=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")

  # Extract request ID by scraping response headers received above
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)

  # Run the handler function from the script
  RESPONSE=$($(echo "$_HANDLER" | cut -d. -f2) "$EVENT_DATA")

  # Send the response
  curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response"  -d "$RESPONSE" >/dev/null
done
`

func TestShellBootstrap(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.deploy("provided.al2023", map[string]string{"bootstrap": documentedBootstrap,
		"index.sh": `function handler () { EVENT_DATA=$1; echo "[\"$EVENT_DATA\", \"$BASH_VERSION\"]" | tr -d '{}'; }` + "\n"})
	if got := f.invoke(`{}`).ok(t); !strings.HasPrefix(got, `["", "5.`) {
		t.Errorf("answer %s", got)
	}
}

// The caller's Tail, and the reason of a version that does not become active, say why a bootstrap ended: its last lines
// of output.
func TestBootstrapThatEnds(t *testing.T) {
	const script = "#!/bin/sh\nfor n in $(seq 200); do echo \"step $n\"; done\nno-such-command --at-all\nexit 2\n"
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.deploy("provided.al2023", map[string]string{"bootstrap": script})
		a := f.tail(`{}`)
		a.failed(t, "Runtime.ExitError", "Error: Runtime exited with error: exit status 2")
		if !strings.Contains(a.log, "no-such-command") || !strings.Contains(a.log, "step 200\n") {
			t.Errorf("the tail is\n%s", a.log)
		}
		if s.kind != "gvisor" {
			return
		}
		f = s.deploy("provided.al2023", map[string]string{"bootstrap": script}, snapStart)
		c := f.publish()
		reason := aws.ToString(c.StateReason)
		if c.State != types.StateFailed || !strings.HasPrefix(reason, "Runtime.ExitError: Runtime exited with error: exit status 2. Its last output: step ") ||
			!strings.Contains(reason, "no-such-command") || len(reason) > 800 {
			t.Errorf("state %s: %s", c.State, reason)
		}
	})
}
