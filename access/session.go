package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"thaw/iam"
)

// Errors of Find.
var (
	ErrUnknown = errors.New("the security token included in the request is invalid")
	ErrExpired = errors.New("the security token included in the request is expired")
)

// Temporary are credentials with an end.
type Temporary struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expiration                                 time.Time
}

// Session is what temporary credentials are made for. Exactly one of Role and Like says whose they are.
type Session struct {
	Role   string // ARN
	Name   string // of the session
	Source string // ARN of the function that gets them; empty: none does
	// Policy limits what the role's policies allow; empty: nothing does.
	Policy json.RawMessage
	// Root: credentials of the server's root. Key: those of a user's key. Neither: the role's.
	Root bool
	Key  string
	Life time.Duration
}

// claims are what a token says. It is signed, not sealed: nothing in it is secret.
type claims struct {
	ID      string          `json:"k"`
	Role    string          `json:"r,omitempty"`
	Name    string          `json:"s,omitempty"`
	Source  string          `json:"f,omitempty"`
	Policy  json.RawMessage `json:"p,omitempty"`
	Root    bool            `json:"a,omitempty"`
	Key     string          `json:"u,omitempty"`
	Expires int64           `json:"e"` // Unix seconds
}

// tokenForm is what tokens of this form begin with.
const tokenForm = "thaw1."

// Issue makes temporary credentials. They are kept nowhere: the token says whose they are, and its signature and the
// secret are made with the folder's key. So they outlive a restart, and hold at each server that has the same folder.
func (s *Store) Issue(of Session) (Temporary, error) {
	t := Temporary{AccessKeyID: "ASIA" + newID(), Expiration: s.o.Now().Add(of.Life).UTC().Truncate(time.Second)}
	body, err := json.Marshal(claims{t.AccessKeyID, of.Role, of.Name, of.Source, of.Policy, of.Root, of.Key, t.Expiration.Unix()})
	if err != nil {
		return t, fmt.Errorf("session: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(body)
	t.SessionToken = tokenForm + text + "." + base64.RawURLEncoding.EncodeToString(s.mac("token", text))
	t.SecretAccessKey = s.secretOf(t.SessionToken)
	return t, nil
}

func (s *Store) mac(what, text string) []byte {
	m := hmac.New(sha256.New, s.session)
	m.Write([]byte(what + ":" + text))
	return m.Sum(nil)
}

// secretOf is the secret that belongs to a token: 40 characters, as AWS's.
func (s *Store) secretOf(token string) string {
	return base64.StdEncoding.EncodeToString(s.mac("secret", token)[:30])
}

// newSecret is the secret of a lasting key.
func newSecret() string {
	var b [30]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	return base64.StdEncoding.EncodeToString(b[:])
}

// Find gives the secret of an access key, and whose it is. token is what came with the request. The errors are
// ErrUnknown and ErrExpired.
func (s *Store) Find(id, token string) (secret string, who Caller, err error) {
	if token == "" {
		k := s.now().keys[id]
		if k == nil {
			return "", who, ErrUnknown
		}
		return k.Secret, k.caller(), nil
	}
	c, err := s.open(token)
	if err != nil || c.ID != id {
		return "", who, ErrUnknown
	}
	if s.o.Now().Unix() >= c.Expires {
		return "", who, ErrExpired
	}
	if who, err = s.callerOf(c); err != nil {
		return "", who, ErrUnknown
	}
	return s.secretOf(token), who, nil
}

// open reads a token that this folder's key has signed.
func (s *Store) open(token string) (c claims, err error) {
	body, sum, ok := strings.Cut(strings.TrimPrefix(token, tokenForm), ".")
	want := base64.RawURLEncoding.EncodeToString(s.mac("token", body)) // as text, which has one form: decoders skip line ends
	if !ok || !strings.HasPrefix(token, tokenForm) || !hmac.Equal([]byte(sum), []byte(want)) {
		return c, ErrUnknown
	}
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return c, ErrUnknown
	}
	return c, json.Unmarshal(text, &c)
}

func (k *key) caller() Caller {
	return Caller{
		Principal: iam.Principal{Kind: iam.User, Account: k.Account, ARN: "arn:aws:iam::" + k.Account + ":user/" + k.User, ID: "AIDA" + k.ID[4:], Name: k.User},
		Identity:  []*iam.Policy{k.policy}, Organization: k.Organization, Key: k.ID,
	}
}

// callerOf is whom a token speaks of. What that may do is what the folder says now, so a role's change counts at once.
func (s *Store) callerOf(c claims) (who Caller, err error) {
	switch {
	case c.Root:
		who = RootOf(s.o.Account)
	case c.Key != "":
		k := s.now().keys[c.Key]
		if k == nil {
			return who, ErrUnknown
		}
		who = k.caller()
		who.Key = "" // a session gives no other
	default:
		account, name, ok := splitRole(c.Role)
		if !ok {
			return who, ErrUnknown
		}
		who = Caller{Principal: iam.Principal{Kind: iam.Session, Account: account, Role: c.Role,
			ARN: "arn:" + partition(c.Role) + ":sts::" + account + ":assumed-role/" + name + "/" + c.Name, ID: roleID(c.Role) + ":" + c.Name}, SourceFunction: c.Source}
		if r := s.now().roles[name]; r != nil && account == s.o.Account {
			who.Identity = []*iam.Policy{r.policy}
		}
	}
	if len(c.Policy) > 0 {
		p, err := iam.Parse(c.Policy, iam.Identity)
		if err != nil {
			return who, err
		}
		who.Session, who.Everything = []*iam.Policy{p}, false
	}
	return who, nil
}

// splitRole takes arn:PARTITION:iam::ACCOUNT:role/PATH/NAME apart.
func splitRole(arn string) (account, name string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") {
		return "", "", false
	}
	name = parts[5][strings.LastIndexByte(parts[5], '/')+1:]
	return parts[4], name, accountRE.MatchString(parts[4]) && nameRE.MatchString(name)
}

func partition(arn string) string {
	_, rest, _ := strings.Cut(arn, ":")
	p, _, _ := strings.Cut(rest, ":")
	return p
}

// roleID is made of the role's ARN: nothing is stored for it.
func roleID(arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return "AROA" + strings.ToUpper(fmt.Sprintf("%x", sum[:9]))[:17]
}

// Assume decides whether a caller may have a session of a role, by its own policies and by the role's trust. Nobody may
// have one of a role that is not there.
func (s *Store) Assume(who *Caller, ask iam.Ask) iam.Decision {
	ask.Context = who.in(ask.Context)
	account, name, ok := splitRole(ask.Resource)
	r := s.now().roles[name]
	if !ok || r == nil || account != s.o.Account {
		return iam.Decide(who.Principal, ask, iam.Policies{Owner: account, Trust: true})
	}
	return iam.Decide(who.Principal, ask, iam.Policies{Identity: who.Identity, Session: who.Session, Resource: r.trust, Owner: account, Trust: true})
}

// TakenBy is who a service is that takes a role of this server; nil: the role is not there, or does not trust the service.
func (s *Store) TakenBy(service, role string) *Caller {
	who := ServiceOf(service)
	if !s.Assume(&who, iam.Ask{Action: "sts:AssumeRole", Resource: role}).OK() {
		return nil
	}
	taken, err := s.callerOf(claims{Role: role, Name: "thaw"})
	if err != nil {
		return nil
	}
	return &taken
}
