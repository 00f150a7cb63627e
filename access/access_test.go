package access

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/function"
	"thaw/iam"
)

const all = `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`

// clock is a time that tests move.
type clock struct{ time.Time }

func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

func open(t *testing.T, dir string) (*Store, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	s, err := Open(Options{Dir: dir, Account: "000000000000", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return c.Time }})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir)
	if s.Signed() || len(s.Keys()) != 0 {
		t.Error("a new folder has keys")
	}
	for name, k := range map[string]Key{
		"a user without a name":  {Policy: []byte(all)},
		"a user with a slash":    {User: "../a", Policy: []byte(all)},
		"no policy":              {User: "a"},
		"a policy that is wrong": {User: "a", Policy: []byte(`{"Statement":[]}`)},
		"an account":             {User: "a", Account: "1", Policy: []byte(all)},
		"an organization":        {User: "a", Organization: "mine", Policy: []byte(all)},
	} {
		if _, _, err := s.AddKey(k); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k, secret, err := s.AddKey(Key{User: "a", Policy: []byte(all)})
	if err != nil || len(secret) != 40 || len(k.ID) != 20 {
		t.Fatal(k, secret, err)
	}
	again, _ := open(t, dir) // another server, or a restart
	got, who, err := again.Find(k.ID, "")
	if err != nil || got != secret || who.ARN != "arn:aws:iam::000000000000:user/a" || who.Everything {
		t.Errorf("%q %+v %v", got, who, err)
	}
	if _, _, err := again.Find("AKIAIOSFODNN7EXAMPLE", ""); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.RemoveKey("../../x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := s.RemoveKey(k.ID); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Find(k.ID, ""); !errors.Is(err, ErrUnknown) || !s.Signed() {
		t.Error("a removed key", err, s.Signed())
	}
}

// A file that was changed by hand counts within a second; one that is wrong counts for nothing, and the others still do.
func TestFilesChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, c := open(t, dir)
	a, _, err := s.AddKey(Key{User: "a", Policy: []byte(all)})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := s.AddKey(Key{User: "b", Policy: []byte(all)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys", a.ID+".json")
	known := func(id string) bool {
		c.pass(2 * look)
		_, _, err := s.Find(id, "")
		return err == nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{strings.Replace(string(text), "Allow", "Perhaps", 1), strings.Replace(string(text), a.ID, b.ID, 1), "{"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if known(a.ID) || !known(b.ID) {
			t.Errorf("%.40q: %v %v", bad, known(a.ID), known(b.ID))
		}
		if _, err := Open(s.o); err == nil {
			t.Errorf("%.40q: a server starts with it", bad)
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if !known(a.ID) {
		t.Error("the file is as it was")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if known(a.ID) {
		t.Error("others can read the file")
	}
}

// Temporary credentials are of one role, until they end, at every server with the same folder, and cannot be made up.
func TestSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, c := open(t, dir)
	if _, err := s.PutRole(Role{Name: "run", Policy: []byte(all)}); err != nil {
		t.Fatal(err)
	}
	cred, err := s.Issue(Session{Role: "arn:aws:iam::000000000000:role/path/run", Name: "fn", Source: "arn:fn", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, dir)
	secret, who, err := other.Find(cred.AccessKeyID, cred.SessionToken)
	if err != nil || secret != cred.SecretAccessKey || who.ARN != "arn:aws:sts::000000000000:assumed-role/run/fn" || who.Role != "arn:aws:iam::000000000000:role/path/run" ||
		who.SourceFunction != "arn:fn" || len(who.Identity) != 1 {
		t.Errorf("%v %+v %v", secret, who, err)
	}
	elsewhere, _ := open(t, t.TempDir())
	form, body, _ := strings.Cut(cred.SessionToken, ".")
	body, sum, _ := strings.Cut(body, ".")
	root := base64.RawURLEncoding.EncodeToString([]byte(`{"k":"` + cred.AccessKeyID + `","a":true,"e":9999999999}`))
	for name, find := range map[string]func() error{
		"another folder":      func() error { _, _, err := elsewhere.Find(cred.AccessKeyID, cred.SessionToken); return err },
		"another access key":  func() error { _, _, err := s.Find("ASIAAAAAAAAAAAAAAAAA", cred.SessionToken); return err },
		"no token":            func() error { _, _, err := s.Find(cred.AccessKeyID, ""); return err },
		"claims of one's own": func() error { _, _, err := s.Find(cred.AccessKeyID, form+"."+root+"."+sum); return err },
		"no signature":        func() error { _, _, err := s.Find(cred.AccessKeyID, form+"."+body+"."); return err },
		"a line end more":     func() error { _, _, err := s.Find(cred.AccessKeyID, cred.SessionToken+"\n"); return err },
		"half a token":        func() error { _, _, err := s.Find(cred.AccessKeyID, cred.SessionToken[:40]); return err },
	} {
		if err := find(); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a role may do is what the folder says now.
	if err := s.RemoveRole("run"); err != nil {
		t.Fatal(err)
	}
	if _, who, err := s.Find(cred.AccessKeyID, cred.SessionToken); err != nil || len(who.Identity) != 0 {
		t.Errorf("a role that is gone: %+v %v", who, err)
	}
	c.pass(time.Hour)
	if _, _, err := s.Find(cred.AccessKeyID, cred.SessionToken); !errors.Is(err, ErrExpired) {
		t.Errorf("after an hour: %v", err)
	}
	limited, err := s.Issue(Session{Root: true, Policy: []byte(all), Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, who, err := s.Find(limited.AccessKeyID, limited.SessionToken); err != nil || who.Everything || len(who.Session) != 1 {
		t.Errorf("a session with a policy: %+v %v", who, err)
	}
}

// MayInvoke is the question of sources that push events, too: they ask as a service, and tell from where an event is.
func TestServicesMayInvoke(t *testing.T) {
	t.Parallel()
	r := &function.Record{Key: function.Key{Account: "000000000000", Region: "eu-west-1", Name: "one"}, Partition: "aws", Policies: map[function.Qualifier][]function.Permission{
		"":     {{ID: "a", Service: "s3.amazonaws.com", Action: InvokeFunction, SourceARN: "arn:aws:s3:::photos*", SourceAccount: "000000000000"}},
		"live": {{ID: "b", Service: "alexa-appkit.amazon.com", Action: "lambda:*", EventToken: "amzn1.ask"}},
	}}
	for _, c := range []struct {
		what, service string
		qualifier     function.Qualifier
		in            iam.Context
		want          bool
	}{
		{"the bucket", "s3.amazonaws.com", "", iam.Context{"aws:sourcearn": {"arn:aws:s3:::photos-1"}, "aws:sourceaccount": {"000000000000"}}, true},
		{"$LATEST is the function", "s3.amazonaws.com", "$LATEST", iam.Context{"aws:sourcearn": {"arn:aws:s3:::photos"}, "aws:sourceaccount": {"000000000000"}}, true},
		{"another bucket", "s3.amazonaws.com", "", iam.Context{"aws:sourcearn": {"arn:aws:s3:::films"}, "aws:sourceaccount": {"000000000000"}}, false},
		{"another account's bucket", "s3.amazonaws.com", "", iam.Context{"aws:sourcearn": {"arn:aws:s3:::photos"}, "aws:sourceaccount": {"222222222222"}}, false},
		{"nobody says whose bucket", "s3.amazonaws.com", "", nil, false},
		{"another service", "sns.amazonaws.com", "", iam.Context{"aws:sourcearn": {"arn:aws:s3:::photos"}, "aws:sourceaccount": {"000000000000"}}, false},
		{"the alias has a policy of its own", "s3.amazonaws.com", "live", iam.Context{"aws:sourcearn": {"arn:aws:s3:::photos"}, "aws:sourceaccount": {"000000000000"}}, false},
		{"an event's token", "alexa-appkit.amazon.com", "live", iam.Context{"lambda:eventsourcetoken": {"amzn1.ask"}}, true},
		{"another token", "alexa-appkit.amazon.com", "live", iam.Context{"lambda:eventsourcetoken": {"x"}}, false},
	} {
		who := ServiceOf(c.service)
		if d := MayInvoke(&who, r, c.qualifier, c.in); d.OK() != c.want {
			t.Errorf("%s: %v (%s)", c.what, d.OK(), d.Message())
		}
	}
}

// C-116: a URL without authorization is open where its policy says so.
func TestOpenURLs(t *testing.T) {
	t.Parallel()
	yes := true
	url := function.Permission{Anybody: true, Action: "lambda:InvokeFunctionUrl", URLAuthType: "NONE"}
	invoke := function.Permission{Anybody: true, Action: InvokeFunction, ViaURL: &yes}
	account := function.Permission{Principal: "arn:aws:iam::000000000000:root", Action: "lambda:*"}
	for name, c := range map[string]struct {
		list       []function.Permission
		both, want bool
	}{
		"no policy":        {nil, false, false},
		"one of two":       {[]function.Permission{url}, false, true},
		"one of two, both": {[]function.Permission{url}, true, false},
		"two":              {[]function.Permission{url, invoke}, true, true},
		"the account":      {[]function.Permission{account}, false, false},
	} {
		r := &function.Record{Key: function.Key{Account: "000000000000", Region: "eu-west-1", Name: "one"}, Policies: map[function.Qualifier][]function.Permission{"": c.list}}
		if d := MayCallURL(&Caller{}, r, "", "NONE", c.both, nil); d.OK() != c.want {
			t.Errorf("%s: %v", name, d.OK())
		}
	}
}

// A damaged key of temporary credentials is no reason not to start: another is made, and the damaged one stays beside it.
func TestDamagedSessionKey(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Account: "000000000000", Log: slog.New(slog.DiscardHandler)}
	before, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "00", strings.Repeat("x", 64)} {
		path := filepath.Join(dir, "session.key")
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if err != nil {
			t.Fatalf("%q: %v", damaged, err)
		}
		again, err := Open(o)
		if err != nil || len(s.session) != 32 || bytes.Equal(s.session, before.session) || !bytes.Equal(s.session, again.session) {
			t.Errorf("%q: another key was not made, or not kept: %v", damaged, err)
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != damaged {
			t.Errorf("the damaged one is %q, %v", kept, err)
		}
	}
}

// No text but one that this folder's key has signed is a token.
func FuzzToken(f *testing.F) {
	s, err := Open(Options{Dir: f.TempDir(), Account: "000000000000", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Issue(Session{Root: true, Life: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.AccessKeyID, good.SessionToken)
	f.Add("ASIA", tokenForm+"e30.AA")
	f.Fuzz(func(t *testing.T, id, token string) {
		if _, who, err := s.Find(id, token); err == nil && (id != good.AccessKeyID || token != good.SessionToken || !who.Everything) {
			t.Fatalf("%q %q is %+v", id, token, who)
		}
	})
}
