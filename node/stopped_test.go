package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// stopTime is how long the server is stopped: longer than every limit of what is under way meanwhile.
const stopTime = time.Minute

// A server that is stopped for a minute while functions work goes on as if nothing had been: what was answered in time
// is answered, what lay idle answers, and changes are seen.
func TestAServerThatIsStoppedForAMinute(t *testing.T) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			needRoot(t, kind)
			t.Parallel()
			dir := t.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			c := startChild(t, kind, dir)
			f := c.js(countInvokes, timeout(20), snapStart)
			slow := c.js(`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000); let count = 0; exports.handler = async (e) => ({ count: ++count })`, timeout(20))
			if kind == "gvisor" {
				f.active()
			} else {
				f.version1()
			}
			f.invoke(`{}`).ok(t)
			f.invokeVersion("1", `{}`).ok(t)

			type named struct {
				what string
				a    answer
			}
			answers := make(chan named)
			under := map[string]func() answer{
				"of $LATEST, which works for three seconds": func() answer { return f.invoke(`{"ms":3000}`) },
				"of version 1, which works for as long":     func() answer { return f.invokeVersion("1", `{"ms":3000}`) },
				"whose environment is in Init":              func() answer { return slow.invoke(`{}`) },
			}
			for what, invoke := range under {
				go func() { answers <- named{what, invoke()} }()
			}
			time.Sleep(1500 * time.Millisecond) // all are under way, and none has ended
			c.Signal(syscall.SIGSTOP)
			time.Sleep(stopTime)
			c.Signal(syscall.SIGCONT)
			for range under {
				n := <-answers
				want := `"count":2`
				if strings.Contains(n.what, "Init") {
					want = `"count":1`
				}
				if n.a.err != nil || n.a.functionError != "" || !strings.Contains(n.a.body, want) {
					t.Errorf("the invoke %s: %v %s %s", n.what, n.a.err, n.a.functionError, n.a.body)
				}
			}
			// The same environments go on.
			if got := f.invoke(`{}`).ok(t); !strings.Contains(got, `"count":3`) {
				t.Errorf("$LATEST afterwards: %s", got)
			}
			if got := slow.invoke(`{}`).ok(t); !strings.Contains(got, `"count":2`) {
				t.Errorf("the one that was in Init afterwards: %s", got)
			}
			// What the server is told now it does.
			ctx := context.Background()
			if _, err := f.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &f.name, ZipFile: zipOf(t, map[string]string{"index.js": `exports.handler = async () => 'new'`})}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); f.configuration("$LATEST").LastUpdateStatus != types.LastUpdateStatusSuccessful; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the update does not end")
				}
			}
			if got := f.invoke(`{}`).ok(t); got != `"new"` {
				t.Errorf("after an update: %s", got)
			}
			if kind == "gvisor" {
				v, err := f.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &f.name})
				if err != nil {
					t.Fatal(err)
				}
				if got := f.becomes(aws.ToString(v.Version), types.StateActive); got.State != types.StateActive {
					t.Errorf("version %s is %s", aws.ToString(v.Version), got.State)
				}
				if got := f.invokeVersion(aws.ToString(v.Version), `{}`).ok(t); got != `"new"` {
					t.Errorf("a version that was published afterwards: %s", got)
				}
			}
		})
	}
}
