package trigger

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"thaw/internal/golden"
)

func socketRequest() (*SocketEvent, *Request) {
	e := &SocketEvent{ID: "R1koeHsUtjMFbRw=", Time: time.UnixMilli(1705751708326).UTC(), Route: "$disconnect", Socket: Socket{ID: "R1kmxc2VNjMCFIA=", API: "dl7ptocha9", Stage: "prod",
		Domain: "dl7ptocha9.execute-api.ap-northeast-1.amazonaws.com", Connected: time.UnixMilli(1705751697419).UTC(), SourceIP: "49.105.91.154", UserAgent: "Mozilla/5.0"}}
	r := &Request{Query: "name=me&name=you&x=%26", Host: "dl7ptocha9.execute-api.ap-northeast-1.amazonaws.com", Port: "443", Scheme: "https", SourceIP: "49.105.91.154", TraceID: "Root=1-0-0",
		Header: map[string][]string{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}, "Sec-Websocket-Version": {"13"}, "X-A": {"1", "2"},
			"X-Forwarded-For": {"10.0.0.1"}, "User-Agent": {"Mozilla/5.0"}}}
	return e, r
}

// S-107: the events of a WebSocket connection, one golden file for all, and what functions in Go read of them.
func TestSocketEvents(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		name, route string
		event       func(*SocketEvent, *Request) ([]byte, error)
	}{
		{"a handshake", "$connect", func(e *SocketEvent, r *Request) ([]byte, error) { return e.Connect(r) }},
		{"a handshake without a query, behind an authorizer, at a stage with variables", "$connect", func(e *SocketEvent, r *Request) ([]byte, error) {
			r.Query, e.Judged, e.Variables = "", json.RawMessage(`{"principalId":"ann","room":"blue"}`), map[string]string{"v": "1"}
			return e.Connect(r)
		}},
		{"a handshake, for an authorizer", "$connect", func(e *SocketEvent, r *Request) ([]byte, error) {
			return e.Authorizer("arn:aws:execute-api:ap-northeast-1:123456789012:dl7ptocha9/prod/$connect", r)
		}},
		{"a message", "$default", func(e *SocketEvent, _ *Request) ([]byte, error) {
			return e.Message("R1knPc2ntjMCFIA=", []byte("{\r\n\t\"a\": \"<1>\"\r\n}"), false)
		}},
		{"a binary message", "send", func(e *SocketEvent, _ *Request) ([]byte, error) { return e.Message("m=", []byte("abc"), true) }},
		{"an empty message", "send", func(e *SocketEvent, _ *Request) ([]byte, error) { return e.Message("m=", nil, false) }},
		{"the end", "$disconnect", func(e *SocketEvent, _ *Request) ([]byte, error) { return e.Disconnect(1001, "") }},
	} {
		e, r := socketRequest()
		e.Route = c.route
		b, err := c.event(e, r)
		if err != nil {
			t.Fatal(err)
		}
		var typed events.APIGatewayWebsocketProxyRequest
		if err := json.Unmarshal(b, &typed); err != nil || typed.RequestContext.ConnectionID != e.Socket.ID || typed.RequestContext.RouteKey != c.route {
			t.Errorf("%s: aws-lambda-go reads %+v, %v", c.name, typed.RequestContext, err)
		}
		out.WriteString("# " + c.name + "\n" + pretty(t, b) + "\n")
	}
	golden.Equal(t, "testdata/websocket.golden", out.String())
}

// S-107: MESSAGE and DISCONNECT are AWS's recorded events, member for member.
func TestSocketEventsAreAWSs(t *testing.T) {
	t.Parallel()
	e, _ := socketRequest()
	e.UserAgent = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36"
	got, err := e.Disconnect(1001, "")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, lambdaGoSample(t, "apigw-websocket-request-disconnect.json"))
	e.API, e.Route, e.ID, e.Time = "gy415nuibc", "$default", "R1knPH17NjMFftw=", time.UnixMilli(1705751700453).UTC()
	if got, err = e.Message("R1knPc2ntjMCFIA=", []byte("{\r\n\t\"a\": 1\r\n}"), false); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, lambdaGoSample(t, "apigw-websocket-request-send-message.json"))
}

// What a function answers on a route: an object with statusCode, and nothing else.
func TestParseSocket(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"statusCode":200,"body":"x"}`:                             "200 x",
		`{"statusCode":"201","body":"aGk=","isBase64Encoded":true}`: "201 hi binary",
		`{"statusCode":200}`:                                        "200 ",
		`{"statusCode":200,"body":{"a":1}}`:                         "bad",
		`{"body":"x"}`:                                              "bad",
		`null`:                                                      "bad",
		`"x"`:                                                       "bad",
		``:                                                          "bad",
		`{"statusCode":"many"}`:                                     "bad",
	} {
		got := "bad"
		r, binary, err := ParseSocket([]byte(payload))
		if err == nil {
			got = strings.TrimSuffix(strings.Join([]string{strconv.Itoa(r.Status), string(r.Body), map[bool]string{true: "binary"}[binary]}, " "), " ")
			if len(r.Body) == 0 {
				got = strconv.Itoa(r.Status) + " "
			}
		} else if !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: %v", payload, err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", payload, got, want)
		}
	}
}
