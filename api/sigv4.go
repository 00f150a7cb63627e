package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thaw/access"
)

// AWS Signature Version 4, as a server checks it. Source: AWS IAM User Guide, "Create a signed AWS API request", and the vectors of
// awslabs/aws-c-auth.

const (
	algorithm = "AWS4-HMAC-SHA256"
	amzTime   = "20060102T150405Z"
	maxSkew   = 5 * time.Minute
	maxKeys   = 256 // cached signing keys
)

// signature is what a request says about who signed it and how. The zero value: nothing.
type signature struct {
	accessKey, date, region, service string // of the scope
	signedHeaders                    string
	signature                        string
	time                             string // as sent
	query                            bool   // presigned
	expires                          time.Duration
	token                            string
	secret                           string         // of the access key, when begin has found it
	caller                           *access.Caller // whose the access key is, too
	// payload is the hash of the body that the client stated, when begin has found the signature to be valid for it.
	// Empty: the signature is checked when the body is known.
	payload string
}

// verifier checks signatures against a fixed set of credentials, which are the root's, and those that others know of.
type verifier struct {
	credentials map[string]Credential
	root        access.Caller
	others      *access.Store // nil: there are none
	now         func() time.Time
	keys        atomic.Pointer[map[scope][]byte] // signing keys; deriving one costs four MACs
	mu          sync.Mutex                       // writers of keys
}

type scope struct{ secret, date, region, service string }

func newVerifier(o *Options, now func() time.Time) *verifier {
	credentials := o.Credentials
	v := &verifier{credentials: make(map[string]Credential, len(credentials)), root: access.RootOf(o.AccountID), others: o.Access, now: now}
	for _, c := range credentials {
		v.credentials[c.AccessKeyID] = c
	}
	v.keys.Store(&map[scope][]byte{})
	return v
}

// begin reads the signature of a request to a service. With strict it refuses everything that can be refused before the
// body is read: with a stated hash of the body that is every signature that is not valid. Without strict it takes the
// region if there is one and asks for nothing.
func (v *verifier) begin(r *http.Request, strict bool, service string) (signature, error) {
	sig, err := readSignature(r)
	if !strict {
		if !validRegion(sig.region) {
			sig.region = ""
		}
		return sig, nil
	}
	if err != nil {
		return sig, err
	}
	if err := v.precheck(&sig, service); err != nil {
		return sig, err
	}
	if stated := r.Header.Get("X-Amz-Content-Sha256"); stated != "" {
		if err := v.verifyHead(r, &sig, stated); err != nil {
			return sig, err
		}
		sig.payload = stated
	}
	return sig, nil
}

func validRegion(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func readSignature(r *http.Request) (signature, error) {
	header := r.Header["Authorization"]
	if len(header) == 0 || header[0] == "" {
		if strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=") || strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
			return readQuerySignature(r.URL.Query())
		}
		return signature{}, fail("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	var sig signature
	kind, fields, _ := strings.Cut(strings.TrimSpace(header[0]), " ")
	if kind != algorithm {
		return sig, incomplete("Authorization header requires the algorithm " + algorithm + ".")
	}
	var credential string
	for f := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			sig.signedHeaders = value
		case "Signature":
			sig.signature = value
		}
	}
	if sig.time = r.Header.Get("X-Amz-Date"); sig.time == "" {
		if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			sig.time = t.UTC().Format(amzTime)
		}
	}
	sig.token = r.Header.Get("X-Amz-Security-Token")
	var missing []string
	if credential == "" {
		missing = append(missing, "Authorization header requires 'Credential' parameter.")
	}
	if sig.signature == "" {
		missing = append(missing, "Authorization header requires 'Signature' parameter.")
	}
	if sig.signedHeaders == "" {
		missing = append(missing, "Authorization header requires 'SignedHeaders' parameter.")
	}
	if sig.time == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	scoped := sig.setCredential(credential)
	if len(missing) > 0 {
		return sig, incomplete(strings.Join(missing, " "))
	}
	if !scoped {
		return sig, incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	return sig, nil
}

func readQuerySignature(q url.Values) (signature, error) {
	sig := signature{
		query: true, signedHeaders: q.Get("X-Amz-SignedHeaders"), signature: q.Get("X-Amz-Signature"), time: q.Get("X-Amz-Date"), token: q.Get("X-Amz-Security-Token"),
	}
	scoped := sig.setCredential(q.Get("X-Amz-Credential"))
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	switch {
	case q.Get("X-Amz-Algorithm") != algorithm:
		return sig, incomplete("The query requires 'X-Amz-Algorithm' " + algorithm + ".")
	case !scoped || sig.signedHeaders == "" || sig.signature == "" || sig.time == "":
		return sig, incomplete("The query requires 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-SignedHeaders' and 'X-Amz-Signature'.")
	case err != nil || seconds < 1 || seconds > 604800:
		return sig, incomplete("The query requires 'X-Amz-Expires' from 1 to 604800.")
	}
	sig.expires = time.Duration(seconds) * time.Second
	return sig, nil
}

func incomplete(message string) error {
	return fail("IncompleteSignatureException", "%s", message)
}

// setCredential reads KEY/DATE/REGION/SERVICE/aws4_request. A key may hold slashes.
func (sig *signature) setCredential(s string) bool {
	p := strings.Split(s, "/")
	n := len(p)
	if n < 5 || p[n-1] != "aws4_request" {
		return false
	}
	sig.accessKey = strings.Join(p[:n-4], "/")
	sig.date, sig.region, sig.service = p[n-4], p[n-3], p[n-2]
	return true
}

func badSignature(format string, v ...any) error {
	return fail("InvalidSignatureException", format, v...)
}

func (v *verifier) precheck(sig *signature, service string) error {
	if err := v.find(sig); err != nil {
		return err
	}
	if sig.service != service {
		return badSignature("Credential should be scoped to correct service: '%s'.", service)
	}
	if !validRegion(sig.region) {
		return badSignature("Credential should be scoped to a valid region.")
	}
	t, err := time.Parse(amzTime, sig.time)
	if err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '" + sig.time + "'.")
	}
	if sig.date != sig.time[:8] {
		return badSignature("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", sig.date, sig.time[:8], sig.time)
	}
	now := v.now().UTC()
	if latest := now.Add(maxSkew); t.After(latest) {
		return badSignature("Signature not yet current: %s is still later than %s (%s + 5 min.)", sig.time, latest.Format(amzTime), now.Format(amzTime))
	}
	if sig.query {
		if end := t.Add(sig.expires); now.After(end) {
			return badSignature("Signature expired: %s is now earlier than %s (presigned for %v)", end.Format(amzTime), now.Format(amzTime), sig.expires)
		}
		return nil
	}
	if earliest := now.Add(-maxSkew); t.Before(earliest) {
		return badSignature("Signature expired: %s is now earlier than %s (%s - 5 min.)", sig.time, earliest.Format(amzTime), now.Format(amzTime))
	}
	return nil
}

// find gives a signature the secret of its access key, and whose it is.
func (v *verifier) find(sig *signature) error {
	unknown := fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	if c, ok := v.credentials[sig.accessKey]; ok {
		if c.SessionToken != "" && subtle.ConstantTimeCompare([]byte(c.SessionToken), []byte(sig.token)) != 1 {
			return unknown
		}
		sig.secret, sig.caller = c.SecretAccessKey, &v.root
		return nil
	}
	if v.others == nil {
		return unknown
	}
	secret, who, err := v.others.Find(sig.accessKey, sig.token)
	switch {
	case errors.Is(err, access.ErrExpired):
		return fail("ExpiredTokenException", "The security token included in the request is expired")
	case err != nil:
		return unknown
	}
	sig.secret, sig.caller = secret, &who
	return nil
}

const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// verify checks what begin could not: the body against its stated hash, or else the whole signature.
func (v *verifier) verify(r *http.Request, sig signature, body []byte) error {
	if sig.payload == unsignedPayload {
		return nil
	}
	hash := hashOf(body)
	if sig.query && sig.service == "s3" { // whoever makes a link does not know what is sent by it
		hash = unsignedPayload
	}
	if sig.payload == "" {
		return v.verifyHead(r, &sig, hash)
	}
	if sig.payload != hash {
		return badSignature("%s", mismatch)
	}
	return nil
}

// verifyHead recomputes the signature of a request, given the last line of the canonical request.
func (v *verifier) verifyHead(r *http.Request, sig *signature, hash string) error {
	if !slices.Contains(strings.Split(sig.signedHeaders, ";"), "host") {
		return badSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if sig.caller == nil { // nobody has looked for the secret: an empty one is no secret
		if err := v.find(sig); err != nil {
			return err
		}
	}
	key := v.signingKey(sig)
	path := rawPath(r)
	if v.matches(r, sig, key, canonicalURI(path, true), hash) {
		return nil
	}
	// Some signers do not remove empty and dot segments, whatever the specification says. It makes no difference for other paths.
	if plain := canonicalURI(path, false); plain != canonicalURI(path, true) && v.matches(r, sig, key, plain, hash) {
		return nil
	}
	// S3 signs a path as it is sent, and so does nobody else.
	if sig.service == "s3" && v.matches(r, sig, key, path, hash) {
		return nil
	}
	return badSignature("%s", mismatch)
}

func (v *verifier) matches(r *http.Request, sig *signature, key []byte, uri, hash string) bool {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(uri)
	b.WriteByte('\n')
	query := canonicalQuery(r.URL.RawQuery, sig.query, false)
	b.WriteString(query)
	b.WriteByte('\n')
	headersStart := b.Len()
	canonicalHeaders(b, r, sig.signedHeaders)
	b.WriteByte('\n')
	b.WriteString(sig.signedHeaders)
	b.WriteByte('\n')
	b.WriteString(hash)
	if sig.check(key, b.Bytes()) {
		return true
	}
	if sig.query && sig.token != "" { // some services add the token after signing
		tail := bytes.Clone(b.Bytes()[headersStart:])
		b.Reset()
		b.WriteString(r.Method + "\n" + uri + "\n" + canonicalQuery(r.URL.RawQuery, true, true) + "\n")
		b.Write(tail)
		return sig.check(key, b.Bytes())
	}
	return false
}

// check compares the signature that a canonical request would have with the one sent, in constant time.
func (sig *signature) check(key, canonical []byte) bool {
	sum := sha256.Sum256(canonical)
	toSign := make([]byte, 0, 192)
	toSign = append(toSign, algorithm...)
	toSign = append(toSign, '\n')
	toSign = append(toSign, sig.time...)
	toSign = append(toSign, '\n')
	toSign = append(toSign, sig.date...)
	toSign = append(toSign, '/')
	toSign = append(toSign, sig.region...)
	toSign = append(toSign, '/')
	toSign = append(toSign, sig.service...)
	toSign = append(toSign, "/aws4_request\n"...)
	toSign = hex.AppendEncode(toSign, sum[:])
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], mac(key, toSign))
	return subtle.ConstantTimeCompare(want[:], []byte(sig.signature)) == 1
}

func mac(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

func (v *verifier) signingKey(sig *signature) []byte {
	sc := scope{sig.secret, sig.date, sig.region, sig.service}
	if key := (*v.keys.Load())[sc]; key != nil {
		return key
	}
	key := mac([]byte("AWS4"+sig.secret), []byte(sig.date))
	key = mac(key, []byte(sig.region))
	key = mac(key, []byte(sig.service))
	key = mac(key, []byte("aws4_request"))
	v.mu.Lock()
	defer v.mu.Unlock()
	next := maps.Clone(*v.keys.Load())
	if len(next) >= maxKeys { // yesterday's, and regions that somebody made up
		clear(next)
	}
	next[sc] = key
	v.keys.Store(&next)
	return key
}

const (
	emptyHash       = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload = "UNSIGNED-PAYLOAD" // stated by a client that leaves its body out of what it signs
)

func hashOf(body []byte) string {
	if len(body) == 0 {
		return emptyHash
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
