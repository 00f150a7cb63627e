package logsapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// plainHost keeps the client from putting stream- before the host's name, which is an address here.
func plainHost(o *cloudwatchlogs.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.AddHeaderValue("X-Test", "live"))
	o.HTTPClient = &http.Client{Transport: hostTransport{&http.Transport{DisableKeepAlives: true}}}
}

type hostTransport struct{ *http.Transport }

func (h hostTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Host = strings.TrimPrefix(r.URL.Host, "stream-")
	return h.Transport.RoundTrip(r)
}

const helloARN = "arn:aws:logs:eu-west-1:000000000000:log-group:" + hello

// TestLiveTail: the SDK's own client reads the stream; what was there before is not in it.
func TestLiveTail(t *testing.T) {
	for range 5 {
		if liveTail(t) {
			return
		}
	}
	t.Fatal("the client closes its connection each time")
}

// liveTail is false when the client has closed its own connection in mid-stream, which it does once in some hundred
// streams on a busy machine, whatever the server does.
func liveTail(t *testing.T) bool {
	w := newWorld(t)
	w.fill("a", 1000)
	out, err := w.client.StartLiveTail(t.Context(), &cloudwatchlogs.StartLiveTailInput{LogGroupIdentifiers: []string{helloARN}, LogStreamNamePrefixes: []string{"a"},
		LogEventFilterPattern: aws.String("event")}, plainHost)
	if err != nil {
		t.Fatal(err)
	}
	stream := out.GetStream()
	events := stream.Events()
	start, ok := (<-events).(*types.StartLiveTailResponseStreamMemberSessionStart)
	if !ok || *start.Value.SessionId == "" || *start.Value.LogEventFilterPattern != "event" || start.Value.LogGroupIdentifiers[0] != helloARN {
		t.Fatalf("begins with %+v, %v", start, stream.Err())
	}
	st := w.store.Stream(hello, "a1")
	st.Append(time.Now(), "event new\n")
	st.Append(time.Now(), "other\n")
	w.store.Stream(hello, "b").Append(time.Now(), "event of another stream\n")
	var seen []string
	for len(seen) == 0 {
		e, open := <-events
		update, ok := e.(*types.StartLiveTailResponseStreamMemberSessionUpdate)
		if err := stream.Err(); err != nil && strings.Contains(err.Error(), "use of closed network connection") {
			return false
		}
		if !ok || !open {
			t.Fatalf("got %+v, %v", e, stream.Err())
		}
		for _, r := range update.Value.SessionResults {
			seen = append(seen, *r.Message+*r.LogStreamName+*r.LogGroupIdentifier)
		}
	}
	if want := "event new\na1" + account + ":" + hello; len(seen) != 1 || seen[0] != want {
		t.Errorf("got %q, want %q", seen, want)
	}
	t.Run("more than an update holds", func(t *testing.T) {
		for i := range 5000 {
			st.Append(time.Now(), fmt.Sprintf("event %d\n", i))
		}
		for e := range events {
			update, ok := e.(*types.StartLiveTailResponseStreamMemberSessionUpdate)
			if !ok {
				t.Fatalf("got %+v", e)
			}
			if n := len(update.Value.SessionResults); n > 500 {
				t.Errorf("%d events", n)
			}
			if update.Value.SessionMetadata.Sampled {
				return
			}
		}
	})
	t.Run("the server ends", func(t *testing.T) {
		close(w.stop)
		for range events {
		}
		var ended *types.SessionStreamingException
		if err := stream.Err(); !errors.As(err, &ended) {
			t.Errorf("ended with %v", err)
		}
	})
	if err := stream.Close(); err != nil && !errors.Is(err, io.EOF) && stream.Err() == nil {
		t.Error(err)
	}
	return true
}

func TestLiveTailIsRefused(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	for body, want := range map[string]string{
		`{}`:                               "InvalidParameterException",
		`{"logGroupIdentifiers":["none"]}`: "ResourceNotFoundException",
		`{"logGroupIdentifiers":["g"],"logEventFilterPattern":"("}`:                          "InvalidParameterException",
		`{"logGroupIdentifiers":["g","g"],"logStreamNames":["s"]}`:                           "InvalidParameterException",
		`{"logGroupIdentifiers":["g"],"logStreamNames":["s"],"logStreamNamePrefixes":["s"]}`: "InvalidParameterException",
	} {
		if status, got := w.raw("StartLiveTail", body); status != 400 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", body, status, got)
		}
	}
}
