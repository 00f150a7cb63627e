package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"thaw/cmd/thaw-cache/internal/cache"
	"thaw/cmd/thaw-cache/internal/origin"
)

// tokenHeader opens the extension. Its value is the session token, or under SnapStart, where the variables have none,
// the token of the credentials endpoint, too.
const tokenHeader = "X-Aws-Parameters-Secrets-Token"

const (
	// fetches run at once, at most; each may hold origin.MaxBody.
	fetches = 8
	// requests are answered at once, at most; more are refused.
	requests = 256
	// settle is how long an invocation's end waits for fetches ahead, so that they are not frozen half done. The caller has its
	// answer by then.
	settle = time.Second
	// maxQuery bounds a request's query, and so the keys of the cache.
	maxQuery = 8 << 10
	// minTold is how long a value must be good to have a say in how long the snapshot is: a shorter one would be past its
	// time in every copy, and is asked for anew there.
	minTold = 10 * time.Second
)

type server struct {
	c        config
	cache    *cache.Cache
	client   *http.Client
	ssm      *origin.Service
	secrets  *origin.Service
	places   chan struct{}
	note     *note
	restores struct {
		sync.Mutex
		seen string // what the file said
	}
}

func newServer(c config) *server {
	// A connection that lay idle in a frozen environment is dead, and a pool of them would be in every copy: none is kept.
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second}}
	s := &server{c: c, client: client, ssm: origin.SSM(client), secrets: origin.SecretsManager(client), places: make(chan struct{}, requests)}
	s.note = &note{client: client, at: "http://" + c.api + "/2026-01-01/thaw/snapshot"}
	s.note.off.Store(!c.snapshot || c.restored == "")
	s.cache = cache.New(cache.Options{
		Entries: c.entries, Bytes: c.bytes, Timeout: c.timeout, Stale: c.stale, Fetches: fetches, Kept: s.note.tell, KeptFor: minTold,
	})
	s.restores.seen = s.mark()
	return s
}

// mark is what the restore file says now.
func (s *server) mark() string {
	if s.c.restored == "" {
		return ""
	}
	b, err := os.ReadFile(s.c.restored)
	if err != nil {
		return ""
	}
	return string(b)
}

// awake has the cache ask anew when this is a copy that was restored since the last look.
func (s *server) awake() {
	s.restores.Lock()
	defer s.restores.Unlock()
	if now := s.mark(); now != s.restores.seen {
		s.restores.seen = now
		s.note.close() // the snapshot is made
		s.cache.Restored()
	}
}

// invoked is called with each INVOKE event.
func (s *server) invoked(deadline time.Time) {
	s.awake()
	s.cache.Thawed()
	ctx, cancel := context.WithDeadline(context.Background(), earlier(time.Now().Add(settle), deadline))
	defer cancel()
	s.cache.Settle(ctx)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		refuse(w, &origin.Error{Status: http.StatusServiceUnavailable, Text: "too many requests at once"})
		return
	}
	if !s.opens(r.Context(), r.Header.Get(tokenHeader)) {
		refuse(w, &origin.Error{Status: http.StatusUnauthorized, Text: tokenHeader + " is not the session token of this environment"})
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, &origin.Error{Status: http.StatusMethodNotAllowed, Text: "GET is all that there is"})
		return
	}
	s.awake()
	ctx, cancel, fetch, err := s.fetch(r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer cancel()
	// Whoever asks in the same words gets the same value.
	a, err := s.cache.Get(ctx, r.URL.Path+"?"+r.URL.Query().Encode(), fetch)
	if err != nil {
		refuse(w, err)
		return
	}
	h := w.Header()
	if a.ContentType != "" {
		h.Set("Content-Type", a.ContentType)
	}
	h.Set("Age", strconv.Itoa(int(a.Age/time.Second)))
	h.Set("X-Thaw-Cache", a.How)
	w.WriteHeader(a.Status)
	w.Write(a.Body) //nolint:errcheck // of the function, which has gone
}

// fetch finds who has the value that a request is for, and how long it waits at most.
func (s *server) fetch(r *http.Request) (context.Context, context.CancelFunc, cache.Fetch, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, nil, nil, &origin.Error{Status: http.StatusRequestURITooLong, Text: "the query is too long"}
	}
	q, wait := r.URL.Query(), s.c.timeout
	var (
		fetch cache.Fetch
		err   error
	)
	switch r.URL.Path {
	case "/systemsmanager/parameters/get", "/systemsmanager/parameters/get/":
		fetch, err = origin.Parameter(s.ssm, q, s.c.parameter)
		wait = s.c.parameterWait
	case "/secretsmanager/get", "/secretsmanager/get/":
		fetch, err = origin.Secret(s.secrets, q, s.c.secret)
		wait = s.c.secretWait
	case "/thaw/http":
		fetch, err = origin.HTTP(s.client, q.Get("url"), s.c.web)
	case "/thaw/file":
		fetch, err = origin.File(q.Get("path"), s.c.file)
	default:
		err = &origin.Error{Status: http.StatusNotFound,
			Text: "there are /systemsmanager/parameters/get, /secretsmanager/get, /thaw/http and /thaw/file"}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if wait == 0 {
		wait = s.c.timeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	return ctx, cancel, fetch, nil
}

// opens compares a token with those of the environment, in a time that tells nothing about them.
func (s *server) opens(ctx context.Context, token string) bool {
	if token == "" {
		return false
	}
	for _, t := range s.c.tokens {
		if subtle.ConstantTimeCompare([]byte(token), []byte(t)) == 1 {
			return true
		}
	}
	if s.c.restored == "" { // not SnapStart: the variables have all that there is
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	have, err := origin.Credentials(ctx, s.client) // each copy's own
	return err == nil && have.SessionToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(have.SessionToken)) == 1
}

// refuse answers with an error, as JSON.
func refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusBadGateway, "the origin does not answer"
	if e := new(origin.Error); errors.As(err, &e) {
		status, text = e.Status, e.Text
	} else if errors.Is(err, context.DeadlineExceeded) {
		status, text = http.StatusGatewayTimeout, "the origin does not answer in time"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": text}) //nolint:errcheck // of the function, which has gone
}
