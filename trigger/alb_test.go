package trigger

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"thaw/internal/golden"
)

const targetGroup = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/lambda-target/abcdefg"

func balancerRequest() *Request {
	return &Request{Method: "GET", Path: "/", Query: "key=hello", SourceIP: "25.12.198.67", Port: "80", Scheme: "http", Host: "lambda-test-alb-1334523864.us-east-1.elb.amazonaws.com",
		TraceID: "Root=1-5c34e93e-4dea0086f9763ac0667b115a", Header: map[string][]string{"Accept": {"*/*"}, "User-Agent": {"curl/7.54.0"}, "X-Imforwards": {"20"}, "X-Myheader": {"123"}}}
}

// The events of a load balancer are AWS's samples, but for the header Connection, which is not the function's business.
func TestBalancerEventsAreAWSs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sample, group string
		multi         bool
		edit          func(*Request)
	}{
		{"alb-lambda-target-request-headers-only.json", targetGroup, false, func(*Request) {}},
		{"alb-lambda-target-request-multivalue-headers.json", targetGroup + "h", true, func(r *Request) {
			r.Host, r.SourceIP, r.TraceID = "lambda-test-alb-1234567.us-east-1.elb.amazonaws.com", "72.21.198.67", "Root=1-5c34e7d4-00ca239424b68028d4c56d68"
		}},
	} {
		r := balancerRequest()
		c.edit(r)
		got, err := r.BalancerEvent(c.group, c.multi)
		if err != nil {
			t.Fatal(err)
		}
		sample := lambdaGoSample(t, c.sample)
		for _, connection := range []string{`"connection": "keep-alive",`, "\"connection\": [\n      \"keep-alive\"\n    ],"} {
			sample = []byte(strings.Replace(string(sample), connection, "", 1))
		}
		sameJSON(t, got, sample)
	}
}

// Requests and their events, one golden file for all; functions in Go read them.
func TestBalancerEvents(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	add := func(name string, b []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		var typed events.ALBTargetGroupRequest
		if err := json.Unmarshal(b, &typed); err != nil || typed.RequestContext.ELB.TargetGroupArn != targetGroup {
			t.Errorf("%s: aws-lambda-go reads %+v, %v", name, typed, err)
		}
		out.WriteString("# " + name + "\n" + pretty(t, b) + "\n")
	}
	body := func(contentType, encoding, text string) func(*Request) {
		return func(r *Request) {
			r.Method, r.Body, r.Header = "POST", []byte(text), map[string][]string{"Content-Type": {contentType}}
			if encoding != "" {
				r.Header["Content-Encoding"] = []string{encoding}
			}
		}
	}
	many := func(r *Request) {
		r.Path, r.Query = "/a%20b", "a=1&a=2&x=%26+y&z"
		r.Header = map[string][]string{"X-A": {"1", "2"}, "Cookie": {"a=1; b=2"}, "Connection": {"close"}, "X-Forwarded-For": {"10.0.0.1"}}
	}
	for _, c := range []struct {
		name  string
		multi bool
		edit  func(*Request)
	}{
		{"repeated headers and parameters, which are not decoded", false, many},
		{"all their values", true, many},
		{"nothing but a path", false, func(r *Request) { r.Query, r.Header = "", nil }},
		{"nothing but a path, for all values", true, func(r *Request) { r.Query, r.Header = "", nil }},
		{"json", false, body("application/json; charset=utf-8", "", `{"n":1}`)},
		{"compressed json is binary", false, body("application/json", "gzip", `{"n":1}`)},
		{"a form is binary", false, body("application/x-www-form-urlencoded", "", "a=b")},
		{"vendor json is binary", true, body("application/vnd.api+json", "", "{}")},
		{"text that is no UTF-8", false, body("text/plain", "", "\xff\xfe")},
	} {
		r := balancerRequest()
		c.edit(r)
		b, err := r.BalancerEvent(targetGroup, c.multi)
		add(c.name, b, err)
	}
	b, err := BalancerCheck(targetGroup, "/health", false)
	add("a health check", b, err)
	b, err = BalancerCheck(targetGroup, "", true)
	add("a health check, for all values", b, err)
	golden.Equal(t, "testdata/alb.golden", out.String())
}

// Answers of functions, and the pages of the load balancer itself.
func TestBalancerAnswers(t *testing.T) {
	t.Parallel()
	sample := string(lambdaGoSample(t, "alb-lambda-target-response.json"))
	for _, c := range []struct {
		name, payload string
		multi         bool
		want          string // status, header set-cookie, body
	}{
		{"AWS's sample", sample, false, `200 ["cookies"] Hello from Lambda`},
		{"AWS's sample, with all values", sample, true, `200 ["cookie-name=cookie-value;Domain=myweb.com;Secure;HttpOnly" "cookie-name=cookie-value;Expires=May 8, 2019"] Hello from Lambda`},
		{"base64", `{"statusCode":201,"isBase64Encoded":true,"body":"aGk="}`, false, `201 [] hi`},
		{"no status", `{"body":"x"}`, false, "bad"},
		{"bad base64", `{"statusCode":200,"isBase64Encoded":true,"body":"%"}`, false, "bad"},
		{"text", `"ok"`, false, "bad"},
		{"null", `null`, true, "bad"},
		{"more than a megabyte", `{"statusCode":200,"body":"` + strings.Repeat("x", MaxBalancerBody) + `"}`, false, "bad"},
		{"a header that would be two", `{"statusCode":200,"headers":{"a":"b\r\nc: d"}}`, false, "bad"},
	} {
		got := "bad"
		r, err := ParseBalancer([]byte(c.payload), c.multi)
		if err == nil {
			got = strings.TrimSpace(strconv.Itoa(r.Status) + " " + quoted(r.Header["set-cookie"]) + " " + string(r.Body))
		} else if !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := string(BalancerError(502).Body); got != "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n" {
		t.Error(got)
	}
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, strconv.Quote(s))
	}
	return "[" + strings.Join(out, " ") + "]"
}
