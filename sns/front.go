package sns

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Path is what paths begin with that anybody may ask for: confirmations and ends of subscriptions by those who have
// their tokens or names, the certificate of signatures, and what an SNS elsewhere sends.
//
//	GET  /sns/?Action=ConfirmSubscription&TopicArn=...&Token=...
//	GET  /sns/?Action=Unsubscribe&SubscriptionArn=...
//	GET  /sns/SimpleNotificationService-HASH.pem
//	POST /sns/NAME[/SECRET]
const Path = "/sns/"

// maxBody bounds a notification: its message of 256 KiB may be six times as long in JSON.
const maxBody = 2 << 20

// As many messages of topics elsewhere are taken at one time; another waits placeWait for its turn.
const (
	maxIncoming = 64
	placeWait   = 5 * time.Second
)

// Serves implements api.Front. Hosts of functions and APIs have all paths for themselves.
func (s *Server) Serves(r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, Path) {
		return false
	}
	host := strings.ToLower(r.Host)
	return !strings.Contains(host, ".lambda-url.") && !strings.Contains(host, ".execute-api.")
}

// ServeHTTP implements api.Front.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", uuid.NewString())
	w.Header().Set("Content-Security-Policy", "sandbox")
	what := strings.TrimPrefix(r.URL.Path, Path)
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case what == "" && get:
		s.open(w, r)
	case strings.HasSuffix(what, ".pem") && get:
		if s.signer.load() != nil || what != s.signer.name {
			s.refuse(w, notFound("Certificate"))
			return
		}
		write(w, http.StatusOK, "application/x-pem-file", s.signer.pem)
	case r.Method == http.MethodPost && what != "":
		s.receive(w, r, what)
	default:
		s.refuse(w, &failure{http.StatusNotFound, "NotFound", "There is nothing at this path: subscribers of topics elsewhere post to /sns/NAME, which thaw trigger add sns makes."})
	}
}

// open answers what a link in a message asks for, which nobody signs.
func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	p := params{r.URL.Query()}
	c := &call{s: s, ctx: r.Context(), p: p}
	switch p.Get("Action") {
	case "ConfirmSubscription", "Unsubscribe":
		s.answer(w, c)
	default:
		s.refuse(w, &failure{http.StatusForbidden, "MissingAuthenticationToken", "Without a signature there are ConfirmSubscription and Unsubscribe here."})
	}
}

// receive takes what an SNS elsewhere sends.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, what string) {
	name, secret, _ := strings.Cut(what, "/")
	x := s.subscriber(name)
	if x == nil {
		s.refuse(w, &failure{http.StatusNotFound, "NotFound", "There is no subscriber of this name. Type: thaw trigger ls"})
		return
	}
	select { // bodies of strangers take no more memory than these places
	case s.door.places <- struct{}{}:
		defer func() { <-s.door.places }()
	case <-r.Context().Done():
		return
	case <-time.After(placeWait):
		s.refuse(w, &failure{http.StatusServiceUnavailable, "Throttled", "Too many messages come at one time."})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status, code := http.StatusBadRequest, "IncompleteBody"
		if errors.As(err, new(*http.MaxBytesError)) {
			status, code = http.StatusRequestEntityTooLarge, "RequestEntityTooLarge"
		}
		s.refuse(w, &failure{status, code, "The body could not be read: " + err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), attemptLimit) // SNS waits no longer
	defer cancel()
	in := incoming{Subscriber: x, secret: secret, header: r.Header, body: body, now: s.o.Now()}
	if err := s.door.take(ctx, &in); err != nil {
		var f *failure
		if !errors.As(err, &f) || f.status < 500 {
			s.o.Log.Warn("a message of SNS was refused", "subscriber", name, "error", err)
		}
		s.counts.note(countOf(name), in.now, err)
		s.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// Subscriber is a topic elsewhere whose messages go to a function of this server. It is subscribed by its URL, BASE/sns/NAME.
type Subscriber struct {
	Name     string // letters, digits, - and _
	Function string // ARN of a function, a version or an alias
	Topic    string // ARN: messages of others are refused
	// Endpoint is who sends, SCHEME://HOST[:PORT]: signatures' certificates and links are nowhere else. Empty:
	// https://sns.REGION.amazonaws.com of the topic. One of http needs CA.
	Endpoint string `json:",omitempty"`
	// CA are certificates in PEM: those that signatures' certificates must be, or be signed by. Empty: what the endpoint
	// serves over https is good.
	CA string `json:",omitempty"`
	// Secret must be the last part of the URL's path, BASE/sns/NAME/SECRET, for raw deliveries, which nobody signs. It is
	// kept as its hash.
	Secret string `json:",omitempty"`
	// FilterPolicy is for topics that have none for this subscription; FilterScope is MessageAttributes or MessageBody.
	FilterPolicy string `json:",omitempty"`
	FilterScope  string `json:",omitempty"`
	Created      time.Time
}
