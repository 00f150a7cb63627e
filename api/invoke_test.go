package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/api"
	"thaw/function"
	"thaw/pool"
)

func TestInvoke(t *testing.T) { // C-069, C-071, C-073, C-077, C-080, C-081
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Publish = true })
	w.active("orders")
	for name, qualifier := range map[string]string{"orders": "$LATEST", "orders:1": "1", ordersARN: "$LATEST", ordersARN + ":1": "1", "function:orders": "$LATEST"} {
		out, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"a":1}`)})
		if err != nil || out.StatusCode != 200 || *out.ExecutedVersion != qualifier || string(out.Payload) != `{"a":1}` || out.FunctionError != nil || out.LogResult != nil {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		q := w.runner.last(t)
		if string(q.Version.Number) != qualifier || q.Version.Name != "orders" || q.Version.CodeSHA256 == "" || q.Version.MemoryMiB != 128 || q.Version.Timeout != 3*time.Second {
			t.Errorf("%s asks for %+v", name, q.Version)
		}
		if want := ordersARN + map[bool]string{true: ":1"}[qualifier == "1"]; string(q.InvokedARN) != want {
			t.Errorf("%s: invoked ARN %s, want %s", name, q.InvokedARN, want)
		}
	}
	got := w.do("POST", base+"/orders/invocations", "", "X-Amzn-Trace-Id", "Root=1-2-3", "X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`)))
	q := w.runner.last(t)
	if string(q.Event) != "{}" || !strings.HasPrefix(q.TraceID, "Root=1-2-3;Lineage=1:") || q.ClientContext != `{"custom":{}}` || q.RequestID != got.header.Get("x-amzn-RequestId") {
		t.Errorf("asked %+v", q)
	}
	w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) {
		return &function.Outcome{Payload: []byte(`{"errorType":"E"}`), FunctionError: "Unhandled", LogTail: []byte("END\nREPORT\n"), ContentType: "text/plain"}, nil
	}
	got = w.do("POST", base+"/orders/invocations", "1", "X-Amz-Log-Type", "Tail")
	if h := got.header; got.status != 200 || h.Get("X-Amz-Function-Error") != "Unhandled" || h.Get("X-Amz-Log-Result") != base64.StdEncoding.EncodeToString([]byte("END\nREPORT\n")) || h.Get("Content-Type") != "application/json" || h.Get("X-Amz-Executed-Version") != "$LATEST" || got.body != `{"errorType":"E"}` {
		t.Errorf("function error: %d %v %s", got.status, h, got.body)
	}
	asked := len(w.runner.asked)
	got = w.do("POST", base+"/orders/invocations", "", "X-Amz-Invocation-Type", "DryRun")
	if got.status != 204 || got.body != "" || got.header.Get("X-Amz-Executed-Version") != "" || len(w.runner.asked) != asked { // C-071
		t.Errorf("dry run: %d %v, %d invocations", got.status, got.header, len(w.runner.asked)-asked)
	}
}

func TestInvokeRefuses(t *testing.T) { // C-078, C-105
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	const badJSON = "Could not parse request body into json: Could not parse payload into json: "
	cases := []struct {
		name, body, header, value string
		status                    int
		code, message             string
	}{
		{"no JSON, C-078", `{"a":`, "", "", 400, "InvalidRequestContentException", badJSON + "unexpected end at byte 5"},
		{"no UTF-8", "\"\xff\"", "", "", 400, "InvalidRequestContentException", badJSON + "invalid UTF-8 at byte 1"},
		{"a context that is no base64", "{}", "X-Amz-Client-Context", "!", 400, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."},
		{"a context that is no JSON", "{}", "X-Amz-Client-Context", "YQ==", 400, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."},
		{"too long a context", "{}", "X-Amz-Client-Context", strings.Repeat("A", 3584), 400, "InvalidRequestContentException", "Client context must be no more than 3583 bytes."},
		{"an unknown type", "{}", "X-Amz-Invocation-Type", "Now", 400, "ValidationException", "1 validation error detected: Value 'Now' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"},
		{"a tenant for a function that tells none apart", "{}", "X-Amz-Tenant-Id", "t", 400, "InvalidParameterValueException", "Remove the tenant ID from your request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var h []string
			if c.header != "" {
				h = []string{c.header, c.value}
			}
			got := w.do("POST", base+"/orders/invocations", c.body, h...)
			if got.status != c.status || got.header.Get("X-Amzn-Errortype") != c.code || !strings.Contains(got.body, c.message) {
				t.Errorf("%d %s %s", got.status, got.header.Get("X-Amzn-Errortype"), got.body)
			}
		})
	}
	if n := len(w.runner.asked); n != 0 {
		t.Errorf("%d of them were invoked", n)
	}
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000)
	if got := w.do("POST", base+"/orders/invocations", deep); got.status != 200 || got.body != deep {
		t.Errorf("deeply nested: %d", got.status)
	}
}

func TestWhatTheRunnerSays(t *testing.T) {
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	cases := []struct {
		name       string
		err        error
		status     int
		code, body string
		retryAfter string
	}{
		{"throttled by the reservation, C-105", &pool.ThrottledError{Reason: pool.ReservedConcurrency}, 429, "TooManyRequestsException", `{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`, "1"},
		{"throttled by the account", &pool.ThrottledError{Reason: pool.AccountConcurrency, Message: "full"}, 429, "TooManyRequestsException", `{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"full"}`, "1"},
		{"too often for the account", &pool.ThrottledError{Reason: pool.FunctionRate}, 429, "TooManyRequestsException", `{"Reason":"FunctionInvocationRateLimitExceeded","Type":"User","message":"Rate Exceeded."}`, "1"},
		{"too often for the reservation", &pool.ThrottledError{Reason: pool.ReservedRate}, 429, "TooManyRequestsException", `{"Reason":"ReservedFunctionInvocationRateLimitExceeded","Type":"User","message":"Rate Exceeded."}`, "1"},
		{"no sandbox", &pool.UnavailableError{Phase: "sandbox", Env: "e1", Err: errors.New("no memory")}, 500, "ServiceException", `{"Message":"The function could not be run: sandbox of environment e1: no memory","Type":"Service"}`, ""},
		{"something else", errors.New("secret"), 500, "ServiceException", `{"Message":"Service encountered an internal error. The server's log has the reason under this request ID.","Type":"Service"}`, ""},
	}
	for _, c := range cases {
		for _, path := range []string{base + "/orders/invocations", "/2021-11-15/functions/orders/response-streaming-invocations"} {
			t.Run(c.name+path, func(t *testing.T) {
				w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) { return nil, c.err }
				got := w.do("POST", path, "{}")
				if got.status != c.status || got.header.Get("X-Amzn-Errortype") != c.code || got.body != c.body || got.header.Get("Retry-After") != c.retryAfter {
					t.Errorf("%d %v %s", got.status, got.header, got.body)
				}
			})
		}
	}
}

func TestInvokeWhilePendingWaits(t *testing.T) {
	w := newWorld(t, func(o *options) { o.Settle = 300 * time.Millisecond })
	w.create("orders")
	out, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
	if err != nil || out.StatusCode != 200 {
		t.Errorf("invoke while pending: %+v, %v", out, err)
	}
}

func TestInvokeDoesNotWaitForever(t *testing.T) {
	w := newWorld(t, func(o *options) { o.Settle, o.PendingInvoke = time.Hour, 10*time.Millisecond })
	w.create("orders")
	_, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending")
	if _, err := w.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
		t.Errorf("delete while pending: %v", err)
	}
	_, err = w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: "+ordersARN+":$LATEST")
}

func TestACallerWhoLeavesCancels(t *testing.T) {
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	started, ended := make(chan struct{}), make(chan error, 1)
	w.runner.answer = func(ctx context.Context, _ *pool.Request) (*function.Outcome, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if _, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders")}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the runner was not told within 30 s")
	}
}

// streamed reads a whole stream with the Go SDK.
func (w *world) streamed(logType types.LogType) (string, *types.InvokeWithResponseStreamCompleteEvent, *lambda.InvokeWithResponseStreamOutput) {
	w.t.Helper()
	out, err := w.client.InvokeWithResponseStream(w.t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("orders"), Payload: []byte("{}"), LogType: logType})
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.GetStream().Close()
	var payload bytes.Buffer
	var end *types.InvokeWithResponseStreamCompleteEvent
	for e := range out.GetStream().Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			if end != nil {
				w.t.Error("a chunk after the end")
			}
			payload.Write(e.Value.Payload)
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			if end != nil {
				w.t.Error("two ends")
			}
			end = &e.Value
		}
	}
	if err := out.GetStream().Err(); err != nil {
		w.t.Fatal(err)
	}
	if end == nil {
		w.t.Fatal("no end")
	}
	return payload.String(), end, out
}

func TestStreams(t *testing.T) { // C-083, C-084, C-086, C-087, C-088, C-089
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	big := strings.Repeat("0123456789", 30000)
	stream := func(q *pool.Request, chunks ...string) {
		if err := q.Stream.Head("text/plain"); err != nil {
			t.Error(err)
		}
		for _, c := range chunks {
			if err := q.Stream.Chunk([]byte(c)); err != nil {
				t.Error(err)
			}
		}
	}
	cases := []struct {
		name                            string
		answer                          func(*pool.Request) *function.Outcome
		payload, code, details, logTail string
	}{
		{"chunks", func(q *pool.Request) *function.Outcome {
			stream(q, "a", "", "\x00\xff", big)
			return &function.Outcome{LogTail: []byte("REPORT")}
		}, "a\x00\xff" + big, "", "", "REPORT"},
		{"a prelude of a front end, C-089", func(q *pool.Request) *function.Outcome {
			stream(q, `{"statusCode":201}`+strings.Repeat("\x00", 8)+"x")
			return &function.Outcome{}
		}, `{"statusCode":201}` + strings.Repeat("\x00", 8) + "x", "", "", ""},
		{"an error after the first chunk, C-086", func(q *pool.Request) *function.Outcome {
			stream(q, "a")
			return &function.Outcome{FunctionError: "Unhandled", StreamErrorType: "Runtime.Unknown", StreamErrorDetails: `{"errorType":"Error"}`}
		}, "a", "Unhandled", `{"errorType":"Error"}`, ""},
		{"a runtime that dies after the first chunk", func(q *pool.Request) *function.Outcome {
			stream(q, "a")
			return &function.Outcome{FunctionError: "Unhandled", StreamErrorType: "Runtime.ExitError", StreamErrorDetails: `{"errorType":"Runtime.ExitError"}`}
		}, "a", "Runtime.TruncatedResponse", `{"errorType":"Runtime.ExitError"}`, ""},
		{"an error before the first chunk", func(*pool.Request) *function.Outcome {
			return &function.Outcome{FunctionError: "Unhandled", Payload: []byte(`{"errorType":"E"}`)}
		}, "", "Unhandled", `{"errorType":"E"}`, ""},
		{"a function that does not stream", func(*pool.Request) *function.Outcome { return &function.Outcome{Payload: []byte(big)} }, big, "", "", ""},
		{"nothing at all", func(*pool.Request) *function.Outcome { return &function.Outcome{} }, "", "", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.runner.answer = func(_ context.Context, q *pool.Request) (*function.Outcome, error) { return c.answer(q), nil }
			payload, end, out := w.streamed(types.LogTypeTail)
			log, _ := base64.StdEncoding.DecodeString(aws.ToString(end.LogResult))
			if payload != c.payload || aws.ToString(end.ErrorCode) != c.code || aws.ToString(end.ErrorDetails) != c.details || string(log) != c.logTail {
				t.Errorf("%d bytes, end %+v", len(payload), end)
			}
			if out.StatusCode != 200 || *out.ExecutedVersion != "$LATEST" || *out.ResponseStreamContentType != "application/vnd.amazon.eventstream" {
				t.Errorf("answer %+v", out)
			}
		})
	}
	_, err := w.client.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("missing")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing:$LATEST") // C-088
}

func TestStreamsArriveAsTheyCome(t *testing.T) { // C-085
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	seen := make(chan struct{})
	w.runner.answer = func(ctx context.Context, q *pool.Request) (*function.Outcome, error) {
		if err := q.Stream.Chunk([]byte("first")); err != nil {
			return nil, err
		}
		select {
		case <-seen:
			return &function.Outcome{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := w.client.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.GetStream().Close()
	for e := range out.GetStream().Events() {
		if c, ok := e.(*types.InvokeWithResponseStreamResponseEventMemberPayloadChunk); ok && string(c.Value.Payload) == "first" {
			close(seen) // the function has not ended
		}
	}
	if err := out.GetStream().Err(); err != nil {
		t.Error(err)
	}
}

func TestAStreamThatThePlatformBreaks(t *testing.T) {
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	w.runner.answer = func(_ context.Context, q *pool.Request) (*function.Outcome, error) {
		if err := q.Stream.Chunk([]byte("first")); err != nil {
			return nil, err
		}
		return nil, &pool.UnavailableError{Phase: "invoke", Err: errors.New("gone")}
	}
	resp := w.do("POST", "/2021-11-15/functions/orders/response-streaming-invocations", "{}")
	d := eventstream.NewDecoder()
	r := strings.NewReader(resp.body)
	var kinds []string
	for {
		m, err := d.Decode(r, nil) // checks both CRCs
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Headers.Get(":message-type").String()+" "+string(m.Payload))
	}
	if got := strings.Join(kinds, ", "); resp.status != 200 || got != `event first, exception {"message":"The function could not be run: invoke: gone"}` {
		t.Errorf("%d %s", resp.status, got)
	}
}

func BenchmarkInvoke(b *testing.B) {
	w := newWorld(b, func(o *options) {
		o.Verify = true
		o.Credentials = []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}
	})
	w.create("orders")
	w.active("orders")
	result := &function.Outcome{Payload: []byte(`{"a":1}`)}
	w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) {
		w.runner.mu.Lock()
		w.runner.asked = w.runner.asked[:0]
		w.runner.mu.Unlock()
		return result, nil
	}
	b.Run("with the SDK over loopback", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.client.Invoke(b.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders"), Payload: []byte(`{"a":1}`)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	var recorded *http.Request
	w.client.Invoke(b.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders"), Payload: []byte(`{"a":1}`)}, func(o *lambda.Options) { //nolint:errcheck // only the signed request is wanted
		o.HTTPClient = &http.Client{Transport: recorder{&recorded}}
	})
	b.Run("the handler alone", func(b *testing.B) {
		b.ReportAllocs()
		recorded.RequestURI = recorded.URL.RequestURI()
		recorded.Host = recorded.URL.Host
		for b.Loop() {
			r := *recorded
			r.Body = io.NopCloser(strings.NewReader(`{"a":1}`))
			rw := discard{http.Header{}}
			w.server.ServeHTTP(rw, &r)
			if rw.h["X-Amz-Executed-Version"] == nil {
				b.Fatal(rw.h)
			}
		}
	})
}

type recorder struct{ r **http.Request }

func (r recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	*r.r = q
	return nil, errors.New("only recorded")
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
