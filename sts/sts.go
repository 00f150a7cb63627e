// Package sts is the part of AWS's Security Token Service that a server of functions needs, in the query protocol: who am
// I, and credentials for a while. Whoever serves it has checked signatures (api.Service) and says who the caller is
// (access.CallerOf).
//
// Source: AWS Security Token Service API Reference, version 2011-06-15.
package sts

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"thaw/access"
	"thaw/iam"
)

// Server answers requests; it is an api.Service.
type Server struct{ Access *access.Store }

// Name is the service's in signatures.
func (*Server) Name() string { return "sts" }

// Target is empty: requests say in their body what they are for.
func (*Server) Target() string { return "" }

// Needs is nothing: each operation decides itself, AssumeRole by the role's trust, too.
func (*Server) Needs(*http.Request, string, string, []byte) []iam.Ask { return nil }

const namespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// failure is an answer other than success.
type failure struct {
	status        int
	code, message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func invalid(format string, v ...any) error {
	return &failure{http.StatusBadRequest, "ValidationError", fmt.Sprintf(format, v...)}
}

// metadata ends every answer.
type metadata struct {
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

// identity is the answer of GetCallerIdentity. The order of the members is the service's, here and below.
type identity struct {
	XMLName xml.Name `xml:"GetCallerIdentityResponse"`
	NS      string   `xml:"xmlns,attr"`
	Arn     string   `xml:"GetCallerIdentityResult>Arn"`
	UserID  string   `xml:"GetCallerIdentityResult>UserId"`
	Account string   `xml:"GetCallerIdentityResult>Account"`
	metadata
}

type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func shown(t access.Temporary) credentials {
	return credentials{t.AccessKeyID, t.SecretAccessKey, t.SessionToken, t.Expiration.UTC().Format(time.RFC3339)}
}

type assumed struct {
	XMLName     xml.Name    `xml:"AssumeRoleResponse"`
	NS          string      `xml:"xmlns,attr"`
	ID          string      `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	Arn         string      `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	Credentials credentials `xml:"AssumeRoleResult>Credentials"`
	metadata
}

type token struct {
	XMLName     xml.Name    `xml:"GetSessionTokenResponse"`
	NS          string      `xml:"xmlns,attr"`
	Credentials credentials `xml:"GetSessionTokenResult>Credentials"`
	metadata
}

// Serve answers a request.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, _, _ string, body []byte) {
	v, err := url.ParseQuery(string(body))
	if r.Method == http.MethodGet { // signed by its query
		v, err = url.ParseQuery(r.URL.RawQuery)
	}
	if err != nil {
		s.refuse(w, &failure{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error"})
		return
	}
	who, meta := access.CallerOf(r.Context()), metadata{w.Header().Get("X-Amzn-Requestid")}
	var answer any
	switch action := v.Get("Action"); action {
	case "GetCallerIdentity": // needs no permission, and no policy can deny it: documented
		answer = identity{NS: namespace, Arn: who.ARN, UserID: who.ID, Account: who.Account, metadata: meta}
	case "AssumeRole":
		answer, err = s.assumeRole(who, v, meta)
	case "GetSessionToken":
		answer, err = s.sessionToken(who, v, meta)
	default:
		err = &failure{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", action, v.Get("Version"))}
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.write(w, http.StatusOK, answer)
}

// Durations of sessions. Source: API Reference, AssumeRole and GetSessionToken.
const (
	shortest = 15 * time.Minute
	longest  = 12 * time.Hour
	chained  = time.Hour // of a role that another role's session assumes
)

// duration reads DurationSeconds.
func duration(v url.Values, usual, most time.Duration) (time.Duration, error) {
	text := v.Get("DurationSeconds")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	d := time.Duration(n) * time.Second
	switch {
	case err != nil || d < shortest:
		return 0, invalid("1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to %d", text, shortest/time.Second)
	case d > most:
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return d, nil
}

var sessionRE = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// assumeRole gives credentials of a role to whom the role trusts, and who may.
//
// Differs: policies limit a session by the parameter Policy alone; tags, MFA and SourceIdentity are refused.
func (s *Server) assumeRole(who *access.Caller, v url.Values, meta metadata) (any, error) {
	for name := range v {
		switch name {
		case "Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId":
		default:
			return nil, invalid("The parameter %s is not supported by this server.", name)
		}
	}
	name, role, policy := v.Get("RoleSessionName"), v.Get("RoleArn"), v.Get("Policy")
	if !sessionRE.MatchString(name) {
		return nil, invalid("1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", name)
	}
	if policy != "" {
		if _, err := iam.Parse([]byte(policy), iam.Identity); err != nil || len(policy) > 2048 {
			return nil, &failure{http.StatusBadRequest, "MalformedPolicyDocument", fmt.Sprintf("The policy is not in the valid JSON format: %v", err)}
		}
	}
	most := longest
	if who.Kind == iam.Session {
		most = chained
	}
	life, err := duration(v, time.Hour, most)
	if err != nil {
		return nil, err
	}
	in := iam.Context{}
	in.Set("sts:RoleSessionName", name)
	in.Set("sts:ExternalId", v.Get("ExternalId"))
	if d := s.Access.Assume(who, iam.Ask{Action: "sts:AssumeRole", Resource: role, Context: in}); !d.OK() {
		return nil, &failure{http.StatusForbidden, "AccessDenied", d.Message()}
	}
	of := access.Session{Role: role, Name: name, Life: life, Policy: json.RawMessage(policy)}
	t, err := s.Access.Issue(of)
	if err != nil {
		return nil, err
	}
	_, as, err := s.Access.Find(t.AccessKeyID, t.SessionToken)
	return assumed{NS: namespace, ID: as.ID, Arn: as.ARN, Credentials: shown(t), metadata: meta}, err
}

// sessionToken gives credentials of the caller's own, for a while.
func (s *Server) sessionToken(who *access.Caller, v url.Values, meta metadata) (any, error) {
	if v.Get("SerialNumber")+v.Get("TokenCode") != "" {
		return nil, invalid("MFA is not supported by this server.")
	}
	life, err := duration(v, longest, 36*time.Hour)
	if err != nil {
		return nil, err
	}
	of := access.Session{Root: who.Everything, Key: who.Key, Life: life}
	if !of.Root && of.Key == "" {
		return nil, &failure{http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials"}
	}
	t, err := s.Access.Issue(of)
	return token{NS: namespace, Credentials: shown(t), metadata: meta}, err
}

// codes are the names that the query protocol has for what all services refuse.
var codes = map[string]failure{
	"UnrecognizedClientException":         {http.StatusForbidden, "InvalidClientTokenId", ""},
	"ExpiredTokenException":               {http.StatusForbidden, "ExpiredToken", ""},
	"InvalidSignatureException":           {http.StatusForbidden, "SignatureDoesNotMatch", ""},
	"IncompleteSignatureException":        {http.StatusBadRequest, "IncompleteSignature", ""},
	"MissingAuthenticationTokenException": {http.StatusForbidden, "MissingAuthenticationToken", ""},
	"AccessDeniedException":               {http.StatusForbidden, "AccessDenied", ""},
	"RequestEntityTooLargeException":      {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", ""},
}

// Refuse answers a request that does not come so far.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	f, ok := codes[code]
	if !ok {
		f = failure{http.StatusInternalServerError, "InternalFailure", ""}
	}
	f.message = message
	s.refuse(w, &f)
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	f := &failure{http.StatusInternalServerError, "InternalFailure", "The request could not be answered."}
	errors.As(err, &f)
	var out struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		NS      string   `xml:"xmlns,attr"`
		Error   struct{ Type, Code, Message string }
		ID      string `xml:"RequestId"`
	}
	out.NS, out.ID = namespace, w.Header().Get("X-Amzn-Requestid")
	out.Error.Type, out.Error.Code, out.Error.Message = "Sender", f.code, f.message
	if f.status >= 500 {
		out.Error.Type = "Receiver"
	}
	s.write(w, f.status, out)
}

func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	b, err := xml.MarshalIndent(answer, "", "  ")
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // nobody to tell
}
