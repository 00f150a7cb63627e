package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	exampleKey    = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var exampleTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

func exampleVerifier(now time.Time) *verifier {
	return newVerifier(&Options{Credentials: []Credential{{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}}}, func() time.Time { return now })
}

// received is how a request looks to a server.
func received(t testing.TB, raw string, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", "/", strings.NewReader(body))
	lines := strings.Split(raw, "\n")
	first := strings.SplitN(lines[0], " ", 2)
	r.Method, r.RequestURI = first[0], first[1]
	path, query, _ := strings.Cut(first[1], "?")
	r.URL.RawPath, r.URL.RawQuery = path, query
	r.ContentLength = int64(len(body))
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		if strings.EqualFold(name, "host") {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

// The vectors that AWS publishes for signers (awslabs/aws-c-auth, aws-signing-test-suite/v4), read as a server. C-131.
func TestVectors(t *testing.T) {
	const date, host = "X-Amz-Date:20150830T123600Z", "Host:example.amazonaws.com"
	cases := []struct {
		name, raw, body, headers, signature string
	}{
		{"get-vanilla", "GET /\n" + host + "\n" + date, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-dot-slash-normalized", "GET /./\n" + host + "\n" + date, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slashes-normalized", "GET //\n" + host + "\n" + date, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative-relative-normalized", "GET /example1/example2/../..\n" + host + "\n" + date, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1\n" + host + "\n" + date, "", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-unreserved", "GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n" + host + "\n" + date, "", "host;x-amz-date", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"post-vanilla", "POST /\n" + host + "\n" + date, "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-x-www-form-urlencoded", "POST /\nContent-Type:application/x-www-form-urlencoded\n" + host + "\n" + date, "Param1=value1", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"get-header-value-trim", "GET /\n" + host + "\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\n" + date, "", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := exampleVerifier(exampleTime)
			r := received(t, c.raw, c.body)
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="+c.headers+", Signature="+c.signature)
			sig, err := readSignature(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.verify(r, sig, []byte(c.body)); err != nil {
				t.Error(err)
			}
			r.Header.Set("X-Amz-Date", "20150830T123601Z")
			if sig, err = readSignature(r); err != nil {
				t.Fatal(err)
			}
			if v.verify(r, sig, []byte(c.body)) == nil {
				t.Error("a signature of another second was accepted")
			}
		})
	}
}

// signed is a request as the SDK signs it for Lambda, then received.
func signed(t testing.TB, method, target, body string, edit ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1:9000"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range edit {
		f(r)
	}
	sum := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, r, hex.EncodeToString(sum[:]), "lambda", "eu-west-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	return arrive(t, r, body)
}

// arrive sends a request over a pipe of bytes, so that paths are what a server reads.
func arrive(t testing.TB, r *http.Request, body string) *http.Request {
	t.Helper()
	s := httptest.NewRequest(r.Method, r.URL.RequestURI(), strings.NewReader(body))
	s.Host, s.Header = r.URL.Host, r.Header
	return s
}

func authenticate(v *verifier, r *http.Request, body string) error {
	sig, err := v.begin(r, true, "lambda")
	if err != nil {
		return err
	}
	return v.verify(r, sig, []byte(body))
}

func TestRequestsSignedByTheSDK(t *testing.T) {
	targets := []string{
		"/2015-03-31/functions", "/2015-03-31/functions/", "/2015-03-31/functions/orders",
		"/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders", // C-131: encoded twice
		"/2015-03-31/functions/orders%3A%24LATEST/invocations?Qualifier=%24LATEST",
		"/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders?tagKeys=b&tagKeys=a&tagKeys=a%20b%2B%C3%A4",
		"/2025-12-01/durable-executions/a%2Fb%2Fc", "/a%20b/%C3%A4?x=%2F&empty=&y", "/a:b$c/(d)'e*f", "/a/../b", "/a//b",
	}
	for _, target := range targets {
		for _, body := range []string{"", `{"a":1}`} {
			r := signed(t, "POST", target, body, func(r *http.Request) {
				r.Header.Set("X-Amz-Client-Context", "  a   b ")
				r.Header.Set("Content-Type", "application/json")
			})
			if err := authenticate(exampleVerifier(exampleTime), r, body); err != nil {
				t.Errorf("%s with %q: %v", target, body, err)
			}
			r.Header.Set("User-Agent", "a proxy's") // not signed: may change
			r.Header.Set("X-Amzn-Trace-Id", "Root=1")
			if err := authenticate(exampleVerifier(exampleTime), r, body); err != nil {
				t.Errorf("%s behind a proxy: %v", target, err)
			}
			if err := authenticate(exampleVerifier(exampleTime), r, body+" "); err == nil {
				t.Errorf("%s: another body was accepted", target)
			}
		}
	}
}

func TestSinglyEncodedPathsAreRefused(t *testing.T) { // C-131
	const target = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders"
	r, _ := http.NewRequest("GET", "http://127.0.0.1:9000"+target, nil)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, r, emptyHash, "lambda", "eu-west-1", exampleTime); err != nil {
		t.Fatal(err)
	}
	wantCode(t, authenticate(exampleVerifier(exampleTime), arrive(t, r, ""), ""), "InvalidSignatureException", mismatch)
}

func wantCode(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || e.Message != message {
		t.Errorf("got %v\nwant %s: %s", err, code, message)
	}
}

func TestRefusedSignatures(t *testing.T) {
	const target = "/2015-03-31/functions/orders"
	auth := func(s string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", s) }
	}
	replace := func(old, with string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), old, with))
		}
	}
	const invalid, incompleteSig = "InvalidSignatureException", "IncompleteSignatureException"
	cases := []struct {
		name          string
		after         time.Duration // from signing to checking
		edit          func(*http.Request)
		code, message string
	}{
		{"none, C-134", 0, func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"an unknown key, C-134", 0, replace(exampleKey, "AKIDOTHER"), "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"too old, C-133", 5*time.Minute + time.Second, nil, invalid, "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"},
		{"too new, C-133", -5*time.Minute - time.Second, nil, invalid, "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)"},
		{"another service", 0, replace("/lambda/", "/s3/"), invalid, "Credential should be scoped to correct service: 'lambda'."},
		{"another region", 0, replace("/eu-west-1/", "/eu-west-2/"), invalid, mismatch},
		{"no region", 0, replace("/eu-west-1/", "/EU_1/"), invalid, "Credential should be scoped to a valid region."},
		{"another day", 0, replace("/20150830/", "/20150831/"), invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'."},
		{"no date", 0, func(r *http.Request) { r.Header.Del("X-Amz-Date") }, incompleteSig, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."},
		{"a wrong date", 0, func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, incompleteSig, "Date must be in ISO-8601 'basic format'. Got 'yesterday'."},
		{"no parameters", 0, auth("AWS4-HMAC-SHA256 x"), incompleteSig, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."},
		{"another algorithm", 0, auth("AWS4-ECDSA-P256-SHA256 Credential=a"), incompleteSig, "Authorization header requires the algorithm AWS4-HMAC-SHA256."},
		{"a short credential", 0, auth("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/lambda, SignedHeaders=host, Signature=0"), incompleteSig, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."},
		{"a host that is not signed", 0, replace("host;", ""), invalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"another host", 0, func(r *http.Request) { r.Host = "elsewhere" }, invalid, mismatch},
		{"another path", 0, func(r *http.Request) { r.RequestURI += "x" }, invalid, mismatch},
		{"another query", 0, func(r *http.Request) { r.URL.RawQuery = "Qualifier=1" }, invalid, mismatch},
		{"another signed header", 0, func(r *http.Request) { r.Header.Set("X-Amz-Log-Type", "Tail") }, invalid, mismatch},
		{"a signature cut short", 0, func(r *http.Request) { a := r.Header.Get("Authorization"); r.Header.Set("Authorization", a[:len(a)-1]) }, invalid, mismatch},
		{"a stated hash that is not the body's", 0, func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) }, invalid, mismatch},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := signed(t, "GET", target, "", func(r *http.Request) { r.Header.Set("X-Amz-Log-Type", "None") })
			if c.edit != nil {
				c.edit(r)
			}
			wantCode(t, authenticate(exampleVerifier(exampleTime.Add(c.after)), r, ""), c.code, c.message)
		})
	}
}

// A signature for a stated hash is checked before the body is read, and the body afterwards.
func TestStatedHashes(t *testing.T) {
	state := func(hash string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hash) }
	}
	const target, body = "/2015-03-31/functions", `{"a":1}`
	v := exampleVerifier(exampleTime)
	r := signed(t, "POST", target, body, state(hashOf([]byte(body))))
	sig, err := v.begin(r, true, "lambda")
	if err != nil || sig.payload == "" {
		t.Errorf("a good signature: %+v, %v", sig, err)
	}
	if err := v.verify(r, sig, []byte(body)); err != nil {
		t.Error(err)
	}
	wantCode(t, v.verify(r, sig, []byte(body+" ")), "InvalidSignatureException", mismatch)
	wantCode(t, v.verify(r, sig, nil), "InvalidSignatureException", mismatch)

	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
	_, err = v.begin(r, true, "lambda")
	wantCode(t, err, "InvalidSignatureException", mismatch)

	r = signed(t, "POST", target, body)
	if sig, err := v.begin(r, true, "lambda"); err != nil || sig.payload != "" {
		t.Errorf("without a hash the body decides: %+v, %v", sig, err)
	}
}

func TestUnsignedPayloads(t *testing.T) {
	r, _ := http.NewRequest("POST", "http://127.0.0.1:9000/2015-03-31/functions", nil)
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, r, unsignedPayload, "lambda", "eu-west-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "anything"} {
		if err := authenticate(exampleVerifier(exampleTime), arrive(t, r, body), body); err != nil {
			t.Error(err)
		}
	}
}

func TestPresigned(t *testing.T) { // C-132
	presign := func(token string) *http.Request {
		r, _ := http.NewRequest("POST", "http://127.0.0.1:9000/2015-03-31/functions/orders/invocations?Qualifier=%24LATEST&X-Amz-Expires=60", nil)
		u, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret, SessionToken: token}, r, emptyHash, "lambda", "eu-west-1", exampleTime)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewRequest("POST", strings.TrimPrefix(u, "http://127.0.0.1:9000"), nil)
		s.Host = "127.0.0.1:9000"
		return s
	}
	at := func(d time.Duration) *verifier { return exampleVerifier(exampleTime.Add(d)) }
	for _, d := range []time.Duration{-5 * time.Minute, 0, 59 * time.Second} {
		if err := authenticate(at(d), presign(""), ""); err != nil {
			t.Errorf("%v after signing: %v", d, err)
		}
	}
	wantCode(t, authenticate(at(61*time.Second), presign(""), ""), "InvalidSignatureException", "Signature expired: 20150830T123700Z is now earlier than 20150830T123701Z (presigned for 1m0s)")
	wantCode(t, authenticate(at(-6*time.Minute), presign(""), ""), "InvalidSignatureException", "Signature not yet current: 20150830T123600Z is still later than 20150830T123500Z (20150830T123000Z + 5 min.)")
	if err := authenticate(at(0), presign("token"), ""); err != nil {
		t.Errorf("with a token: %v", err)
	}
	late := presign("")
	late.RequestURI += "&X-Amz-Security-Token=later"
	late.URL.RawQuery += "&X-Amz-Security-Token=later"
	if err := authenticate(at(0), late, ""); err != nil {
		t.Errorf("with a token added after signing: %v", err)
	}
	forged := presign("")
	forged.URL.RawQuery = strings.Replace(forged.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)
	wantCode(t, authenticate(at(0), forged, ""), "InvalidSignatureException", mismatch)
	broken := presign("")
	broken.URL.RawQuery = strings.Replace(broken.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=0", 1)
	wantCode(t, authenticate(at(0), broken, ""), "IncompleteSignatureException", "The query requires 'X-Amz-Expires' from 1 to 604800.")
}

func TestSessionTokens(t *testing.T) {
	v := newVerifier(&Options{Credentials: []Credential{{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret, SessionToken: "t"}}}, func() time.Time { return exampleTime })
	wantCode(t, authenticate(v, signed(t, "GET", "/", ""), ""), "UnrecognizedClientException", "The security token included in the request is invalid.")
	if err := authenticate(v, signed(t, "GET", "/", "", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }), ""); err != nil {
		t.Error(err)
	}
}

func TestWithoutVerificationOnlyTheRegionIsRead(t *testing.T) {
	v := newVerifier(&Options{}, time.Now)
	cases := []struct {
		name   string
		edit   func(*http.Request)
		region string
	}{
		{"no credential", func(*http.Request) {}, ""},
		{"an unknown key long ago", func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20150830/eu-central-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
		}, "eu-central-1"},
		{"nothing but a credential", func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20150830/eu-central-1/lambda/aws4_request")
		}, "eu-central-1"},
		{"a region that is none", func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20150830/a.b>c/lambda/aws4_request")
		}, ""},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, ""},
		{"presigned", func(r *http.Request) {
			r.URL.RawQuery = "X-Amz-Credential=test%2F20150830%2Fap-south-1%2Flambda%2Faws4_request"
		}, "ap-south-1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			c.edit(r)
			if sig, err := v.begin(r, false, "lambda"); err != nil || sig.region != c.region {
				t.Errorf("region %q, %v; want %q", sig.region, err, c.region)
			}
		})
	}
}

func TestSigningKeysAreBounded(t *testing.T) {
	v := exampleVerifier(exampleTime)
	for i := range 3 * maxKeys {
		v.signingKey(&signature{accessKey: exampleKey, date: "20150830", region: string(rune('a'+i%26)) + strings.Repeat("x", i/26), service: "lambda"})
	}
	if n := len(*v.keys.Load()); n > maxKeys {
		t.Errorf("%d keys are kept", n)
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("/2015-03-31/functions?x=y", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=0", "20150830T123600Z")
	f.Add("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0", "", "")
	v := exampleVerifier(exampleTime)
	f.Fuzz(func(t *testing.T, target, auth, date string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		r.URL.RawPath, r.URL.RawQuery, _ = strings.Cut(target, "?")
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		if err := authenticate(v, r, ""); err == nil {
			t.Errorf("%q %q %q was accepted", target, auth, date)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, body := range []string{`{"a":1}`, strings.Repeat("x", 5<<20)} {
		b.Run(strconv.Itoa(len(body))+" bytes", func(b *testing.B) {
			r := signed(b, "POST", "/2015-03-31/functions/orders/invocations", body)
			v := exampleVerifier(exampleTime)
			bytesBody := bytes.Clone([]byte(body))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				sig, err := v.begin(r, true, "lambda")
				if err == nil {
					err = v.verify(r, sig, bytesBody)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
