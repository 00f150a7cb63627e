package sts_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"thaw/access"
	"thaw/iam"
	"thaw/internal/wholebody"
	"thaw/sts"
)

const account = "000000000000"

// service serves STS to one caller, as api does.
func service(t *testing.T, s *access.Store, who access.Caller) *awssts.Client {
	t.Helper()
	server := &sts.Server{Access: s}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Amzn-Requestid", "request")
		server.Serve(w, r.WithContext(access.WithCaller(r.Context(), &who)), "", "eu-west-1", body)
	}))
	t.Cleanup(h.Close)
	return awssts.New(awssts.Options{Region: "eu-west-1", BaseEndpoint: &h.URL, RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
}

func store(t *testing.T) *access.Store {
	t.Helper()
	s, err := access.Open(access.Options{Dir: t.TempDir(), Account: account, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func user(t *testing.T, account, policy string) access.Caller {
	t.Helper()
	p, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+policy+`}}`), iam.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return access.Caller{Principal: iam.Principal{Kind: iam.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/u", ID: "AIDAU", Name: "u"}, Identity: []*iam.Policy{p}}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	s := store(t)
	const all = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	trust := func(principal, more string) []byte {
		return []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + more + `}}`)
	}
	for name, t2 := range map[string][]byte{
		"usual": nil, "services": trust(`{"Service":"lambda.amazonaws.com"}`, ""), "other": trust(`{"AWS":"222222222222"}`, `,"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`),
		"user": trust(`{"AWS":"arn:aws:iam::000000000000:user/u"}`, ""),
	} {
		if _, err := s.PutRole(access.Role{Name: name, Policy: []byte(all), Trust: t2}); err != nil {
			t.Fatal(err)
		}
	}
	may, mayNot := user(t, account, `"Action":"sts:AssumeRole","Resource":"arn:aws:iam::*:role/*"`), user(t, account, `"Action":"lambda:*","Resource":"*"`)
	other := user(t, "222222222222", `"Action":"sts:*","Resource":"*"`)
	for _, c := range []struct {
		what, role string
		who        access.Caller
		edit       func(*awssts.AssumeRoleInput)
		want       string // in the error; empty: allowed
	}{
		{"a user that may", "usual", may, nil, ""},
		{"a user that may not", "usual", mayNot, nil, "AccessDenied: User: arn:aws:iam::000000000000:user/u is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::000000000000:role/usual because no identity-based policy allows the sts:AssumeRole action"},
		{"root", "usual", access.RootOf(account), nil, ""},
		{"a role that trusts services alone", "services", may, nil, "AccessDenied"},
		{"a role that trusts the user", "user", mayNot, nil, ""},
		{"another account without the external ID", "other", other, nil, "AccessDenied"},
		{"another account", "other", other, func(in *awssts.AssumeRoleInput) { in.ExternalId = aws.String("x") }, ""},
		{"a role that is not there", "none", may, nil, "AccessDenied"},
		{"too short", "usual", may, func(in *awssts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(60) }, "ValidationError"},
		{"too long", "usual", may, func(in *awssts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(43201) }, "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"a bad name", "usual", may, func(in *awssts.AssumeRoleInput) { in.RoleSessionName = aws.String("a b") }, "ValidationError"},
		{"a bad policy", "usual", may, func(in *awssts.AssumeRoleInput) { in.Policy = aws.String("{}") }, "MalformedPolicyDocument"},
		{"MFA", "usual", may, func(in *awssts.AssumeRoleInput) { in.TokenCode = aws.String("123456") }, "not supported"},
	} {
		in := &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/" + c.role), RoleSessionName: aws.String("me"), DurationSeconds: aws.Int32(900)}
		if c.edit != nil {
			c.edit(in)
		}
		out, err := service(t, s, c.who).AssumeRole(t.Context(), in)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		case c.want != "":
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		default:
			k := out.Credentials
			secret, who, err := s.Find(*k.AccessKeyId, *k.SessionToken)
			if err != nil || secret != *k.SecretAccessKey || who.ARN != "arn:aws:sts::000000000000:assumed-role/"+c.role+"/me" || *out.AssumedRoleUser.Arn != who.ARN || *out.AssumedRoleUser.AssumedRoleId != who.ID {
				t.Errorf("%s: %+v %v", c.what, who, err)
			}
			if left := time.Until(*k.Expiration); left < 14*time.Minute || left > 16*time.Minute {
				t.Errorf("%s: expires in %v", c.what, left)
			}
		}
	}
}

func TestWhoAmI(t *testing.T) {
	t.Parallel()
	s := store(t)
	root := access.RootOf(account)
	out, err := service(t, s, root).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil || *out.Arn != "arn:aws:iam::000000000000:root" || *out.Account != account || *out.UserId != account {
		t.Errorf("%+v %v", out, err)
	}
	got, err := service(t, s, root).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, who, err := s.Find(*got.Credentials.AccessKeyId, *got.Credentials.SessionToken); err != nil || !who.Everything {
		t.Errorf("%+v %v", who, err)
	}
	who := user(t, account, `"Action":"*","Resource":"*"`) // of a session, as it has no lasting key
	if _, err := service(t, s, who).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a session's session: %v", err)
	}
	if _, err := service(t, s, root).GetFederationToken(t.Context(), &awssts.GetFederationTokenInput{Name: aws.String("n")}); err == nil || !strings.Contains(err.Error(), "InvalidAction") {
		t.Errorf("%v", err)
	}
}

// The answers are XML that has an outside reader, too.
func TestAnswersAreXML(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	(&sts.Server{}).Refuse(w, "ExpiredTokenException", "The security token included in the request is expired <now>")
	if w.Code != 403 || !strings.Contains(w.Body.String(), "<Code>ExpiredToken</Code>") || !strings.Contains(w.Body.String(), "expired &lt;now&gt;") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("no xmllint here")
	}
	cmd := exec.Command(lint, "--noout", "-")
	cmd.Stdin = bytes.NewReader(w.Body.Bytes())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
