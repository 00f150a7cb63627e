package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

const base = "/2015-03-31/functions"

// answer is what a plain HTTP client gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request that no SDK would send like this. Headers are name, value.
func (w *world) do(method, path, body string, headers ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/"+region+"/lambda/aws4_request, SignedHeaders=host, Signature=0")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := t.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

var uuidRE = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestErrorBodies(t *testing.T) {
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	const arn = "arn:aws:lambda:eu-west-1:000000000000:function:"
	long := strings.Repeat("x", 65)
	cases := []struct {
		name, method, path, body string
		status                   int
		code, want               string
	}{
		{"a missing function has Message and Type, C-008", "GET", base + "/missing", "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + `missing","Type":"User"}`},
		{"a wrong parameter has message and Type, C-008", "POST", base, `{"FunctionName":"f","Role":"` + role + `","Code":{"ZipFile":"AAAA"},"Handler":"h"}`, 400, "InvalidParameterValueException", `{"Type":"User","message":"Runtime and Handler are mandatory parameters for functions created with deployment packages."}`},
		{"a framework error has no Type, C-009", "GET", base + "?FunctionVersion=invalid", "", 400, "ValidationException", `{"message":"1 validation error detected: Value 'invalid' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]"}`},
		{"an unknown operation", "GET", "/2015-03-31/nothing", "", 404, "UnknownOperationException", `{"message":"There is no operation GET /2015-03-31/nothing."}`},
		{"an operation that is not there yet", "GET", "/2025-11-30/capacity-providers", "", 501, "NotImplementedException", `{"Type":"Service","message":"ListCapacityProviders is not implemented by this server yet."}`},
		{"an asynchronous invocation", "POST", base + "/orders/invocations", "{}", 501, "NotImplementedException", `{"Type":"Service","message":"Asynchronous invocation (InvocationType Event) is not implemented by this server yet."}`},
		{"the account of somebody else", "GET", base + "/arn:aws:lambda:eu-west-1:123456789012:function:orders", "", 403, "AccessDeniedException", `{"message":null}`},
		{"another region, C-017", "GET", base + "/arn:aws:lambda:eu-west-2:000000000000:function:orders", "", 404, "ResourceNotFoundException", `{"Message":"Functions from 'eu-west-2' are not reachable in this region ('eu-west-1')","Type":"User"}`},
		{"two qualifiers that differ, C-016", "GET", base + "/orders:1?Qualifier=2", "", 400, "InvalidParameterValueException", `{"Type":"User","message":"The derived qualifier from the function name does not match the specified qualifier."}`},
		{"two qualifiers in one ARN, C-018", "GET", base + "/" + arn + "orders:1:2", "", 400, "ValidationException", `{"message":"1 validation error detected: Value '` + arn + `orders:1:2' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"}`},
		{"an ARN without a name, C-019", "GET", base + "/arn:aws:lambda:eu-west-1:000000000000:function", "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + `function","Type":"User"}`},
		{"a qualifier of 129 characters, C-020", "GET", base + "/orders?Qualifier=" + strings.Repeat("a", 129), "", 400, "ValidationException", `{"message":"1 validation error detected: Value '` + strings.Repeat("a", 129) + `' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128"}`},
		{"two violations, the qualifier's first, C-014", "DELETE", base + "/a%20b?Qualifier=a%20b", "", 400, "ValidationException", `{"message":"2 validation errors detected: Value 'a b' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+; Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"}`},
		{"a name of 65 characters is not found, C-015", "GET", base + "/" + long, "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + long + `","Type":"User"}`},
		{"nor is it invoked, C-015", "POST", base + "/" + long + "/invocations", "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + long + `:$LATEST","Type":"User"}`},
		{"nor is it created, C-015", "POST", base, `{"FunctionName":"` + long + `","Role":"` + role + `","Code":{"ZipFile":"AAAA"},"Handler":"h","Runtime":"nodejs22.x"}`, 400, "InvalidParameterValueException", `{"Type":"User","message":"1 validation error detected: Value '` + long + `' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"}`},
		{"a qualifier that names nothing", "GET", base + "/orders?Qualifier=$latest", "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + `orders:$latest","Type":"User"}`},
		{"an alias that is not there", "POST", base + "/orders/invocations?Qualifier=live", "", 404, "ResourceNotFoundException", `{"Message":"Function not found: ` + arn + `orders:live","Type":"User"}`},
		{"a body that is no JSON", "POST", base, `{"FunctionName":`, 400, "InvalidRequestContentException", `{"Type":"User","message":"Could not parse request body into json: unexpected end of JSON input"}`},
		{"a member of the wrong type", "POST", base, `{"Timeout":"3"}`, 400, "SerializationException", `{"message":"STRING_VALUE can not be converted to an Integer"}`},
		{"no tag keys", "DELETE", "/2017-03-31/tags/" + arn + "orders", "", 400, "ValidationException", `{"message":"1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"}`},
		{"a marker of another list", "GET", base + "?Marker=abc", "", 400, "InvalidParameterValueException", `{"Type":"User","message":"The Marker is invalid."}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if strings.Contains(c.name, "asynchronous") {
				headers = []string{"X-Amz-Invocation-Type", "Event"}
			}
			got := w.do(c.method, c.path, c.body, headers...)
			if got.status != c.status || got.body != c.want || got.header.Get("x-amzn-ErrorType") != c.code || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s\n got %s\nwant %s (%d %s)", got.status, got.header.Get("x-amzn-ErrorType"), got.body, c.want, c.status, c.code)
			}
			if !uuidRE.MatchString(got.header.Get("x-amzn-RequestId")) || got.header.Get("Date") == "" { // C-007
				t.Errorf("headers %v", got.header)
			}
		})
	}
}

func TestAnswersAreCompleteAndWithoutNull(t *testing.T) { // C-007, C-010, C-012, C-024, C-025
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	got := w.do("GET", base+"/orders", "")
	if got.status != 200 || !uuidRE.MatchString(got.header.Get("X-Amzn-Requestid")) || strings.Contains(got.body, "null") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	var out struct{ Configuration map[string]any }
	if err := json.Unmarshal([]byte(got.body), &out); err != nil {
		t.Fatal(err)
	}
	c := out.Configuration
	if m, _ := c["LastModified"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$`).MatchString(m) {
		t.Errorf("LastModified is %q", m)
	}
	for _, vary := range []string{"LastModified", "RevisionId", "CodeSha256", "CodeSize", "RuntimeVersionConfig"} {
		if c[vary] == nil {
			t.Errorf("%s is missing", vary)
		}
		delete(c, vary)
	}
	b, _ := json.Marshal(c)
	const want = `{"Architectures":["x86_64"],"Description":"","EphemeralStorage":{"Size":512},"FunctionArn":"arn:aws:lambda:eu-west-1:000000000000:function:orders","FunctionName":"orders","Handler":"index.handler","LastUpdateStatus":"Successful","LoggingConfig":{"LogFormat":"Text","LogGroup":"/aws/lambda/orders"},"MemorySize":128,"PackageType":"Zip","Role":"arn:aws:iam::000000000000:role/r","Runtime":"nodejs22.x","SnapStart":{"ApplyOn":"None","OptimizationStatus":"Off"},"State":"Active","Timeout":3,"TracingConfig":{"Mode":"PassThrough"},"Version":"$LATEST"}`
	if string(b) != want {
		t.Errorf("configuration is\n%s\nwant\n%s", b, want)
	}
}

func TestWaysToNameAFunction(t *testing.T) { // C-001, C-002, C-003, C-011, C-021
	w := newWorld(t)
	zip, _ := json.Marshal(zipOf(t, "index.js", ""))
	got := w.do("POST", base+"/", fmt.Sprintf(`{"FunctionName":"orders","Role":%q,"Handler":"h","Runtime":"nodejs22.x","Code":{"ZipFile":%s,"S3ObjectStorageMode":"COPY"},"Unheard":{"of":1}}`, role, zip))
	if got.status != 201 {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	w.active("orders")
	for _, name := range []string{
		"orders", "orders:$LATEST", "orders%3A%24LATEST", "function:orders", "000000000000:function:orders", "000000000000%3Afunction%3Aorders%3A%24LATEST",
		"arn:aws:lambda:eu-west-1:000000000000:function:orders", "arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders", "orders/?Qualifier=%24LATEST",
		"arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders%3A%24LATEST?Qualifier=$LATEST",
	} {
		if got := w.do("GET", base+"/"+name, ""); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	for _, list := range []string{base, base + "/"} {
		if got := w.do("GET", list, ""); got.status != 200 || !strings.Contains(got.body, "orders") {
			t.Errorf("%s: %d %s", list, got.status, got.body)
		}
	}
	if got := w.do("GET", base+"/", "", "Authorization", ""); !strings.Contains(got.body, `{"Functions":[]}`) { // no credential: us-east-1
		t.Errorf("another region lists %s", got.body)
	}
}

func TestBodiesTooLarge(t *testing.T) { // C-079 in its synchronous part
	w := newWorld(t)
	w.create("orders")
	w.active("orders")
	most := `"` + strings.Repeat("x", 6291456-2) + `"`
	if got := w.do("POST", base+"/orders/invocations", most); got.status != 200 || got.body != most {
		t.Errorf("6 MB: %d, %d bytes", got.status, len(got.body))
	}
	got := w.do("POST", base+"/orders/invocations", most+" ")
	if want := `{"Type":"User","message":"6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"}`; got.status != 413 || got.body != want || got.header.Get("X-Amzn-Errortype") != "RequestTooLargeException" {
		t.Errorf("6 MB and a byte: %d %.200s", got.status, got.body)
	}
	got = w.do("PUT", base+"/orders/configuration", strings.Repeat(" ", 6<<20+1))
	if got.status != 413 || got.header.Get("X-Amzn-Errortype") != "RequestEntityTooLargeException" {
		t.Errorf("configuration: %d %.200s", got.status, got.body)
	}
}

func TestCreateBodiesTooLarge(t *testing.T) { // C-029
	if testing.Short() {
		t.Skip("sends 140 MB")
	}
	w := newWorld(t)
	head := `{"FunctionName":"f","Role":"` + role + `","Handler":"h","Runtime":"nodejs22.x","Code":{"ZipFile":"`
	got := w.do("POST", base, head+strings.Repeat("AAAA", 52428801/3+1)+`"}}`)
	if want := `{"message":"Zipped size must be smaller than 52428800 bytes"}`; got.status != 413 || got.body != want {
		t.Errorf("zip of 50 MB and a byte: %d %.200s", got.status, got.body)
	}
	got = w.do("POST", base, head+strings.Repeat("A", 70167211)+`"}}`)
	if want := `{"message":"Request must be smaller than 70167211 bytes for the CreateFunction operation"}`; got.status != 413 || got.body != want {
		t.Errorf("request of 70 MB: %d %.200s", got.status, got.body)
	}
}

// want compares an answer with what is expected of it: a "*" in the place of a value, or of the body, is any.
func (w *world) want(a answer, status int, body string) {
	w.t.Helper()
	var got, want any
	if body != "" && body != "*" {
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			w.t.Errorf("answer %d %s: %v", a.status, a.body, err)
			return
		}
	}
	if a.status != status || body == "" && a.body != "" || !like(got, want) {
		w.t.Errorf("answer %d %s\n  want %d %s", a.status, a.body, status, body)
	}
}

func like(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		for k, v := range want {
			g, there := have[k]
			ok = ok && there && like(g, v)
		}
		return ok && len(have) == len(want)
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		for i := range want {
			if !like(have[i], want[i]) {
				return false
			}
		}
		return true
	}
	return want == "*" || got == want
}
