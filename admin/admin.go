// Package admin is the private door of a running server: HTTP on the unix socket DATA-DIR/thaw.sock, for the commands of the same
// user on the same host. It is no public API; server and command line are built together.
//
//	GET  /v1/health          Health
//	GET  /v1/environments    []Environment
//	GET  /v1/functions       []Function
//	GET  /v1/config          the effective configuration, as Options.Config gives it
//	GET  /v1/logs/groups     []logstore.Group
//	GET  /v1/logs/streams    []logstore.StreamInfo; group=
//	GET  /v1/logs            logstore.Event, one a line; group= prefix= since= until= after= limit= newest= pattern= follow=
//	GET  /v1/backup          a backup (package backup); records=only leaves out code packages
//	GET  /v1/async           []Backlog
//	POST /v1/async/purge     []Backlog, what was forgotten; function=
//	GET  /v1/sources         []Source
//	GET  /v1/triggers        []Trigger; POST NewTrigger -> MadeTrigger; DELETE /v1/triggers/KIND/NAME
//	GET  /v1/keys            []access.Key; POST adds one -> NewKey; DELETE /v1/keys/ID
//	GET  /v1/roles           []access.Role; PUT one -> access.Role; DELETE /v1/roles/NAME
//	POST /v1/session         access.Temporary of the account's root
//	POST /v1/drain           202; the server finishes what runs and ends
//	GET  /v1/snapshots       []Snapshot
//	POST /v1/snapshots/refresh   Snapshot, when the new generation is current; version=, here and below
//	POST /v1/snapshots/remove    Snapshot
//	PUT  /v1/snapshots/policy    snapshot.Policy -> Snapshot; DELETE gives the word back to the function's tags
//	POST /v1/snapshots/doctor    an event -> Diagnosis
//
// An error is a JSON object with the one member error; in a stream of events it is the last line.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"thaw/access"
	"thaw/execenv"
	"thaw/logpattern"
	"thaw/logstore"
)

// socketName is the socket's name in the data folder.
const socketName = "thaw.sock"

// Health is what a server says of itself.
type Health struct {
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Endpoint string    `json:"endpoint"` // URL of the Lambda API
	Sandbox  string    `json:"sandbox"`  // name of the backend
	Isolates bool      `json:"isolates"`
	Saves    bool      `json:"saves"` // it takes snapshots and restores them
	Started  time.Time `json:"started"`
	Account  string    `json:"account"`
	Signed   bool      `json:"signed"` // requests must be signed with a configured key
	Draining bool      `json:"draining,omitempty"`
	// How a program of this host that calls Endpoint knows it is this server, where that speaks TLS: by exactly this
	// certificate (PEM), or by a name that its certificate has.
	Certificate string `json:"certificate,omitempty"`
	ServerName  string `json:"serverName,omitempty"`
}

// Function is one function, as `thaw ls` shows it.
type Function struct {
	Name      string    `json:"name"`
	Region    string    `json:"region"`
	ARN       string    `json:"arn"`
	Runtime   string    `json:"runtime"`
	Handler   string    `json:"handler,omitempty"`
	MemoryMiB int       `json:"memoryMiB"`
	State     string    `json:"state"` // of $LATEST
	Reason    string    `json:"reason,omitempty"`
	SnapStart bool      `json:"snapStart"`
	Versions  []int     `json:"versions"` // published, ascending
	Group     string    `json:"logGroup"`
	Modified  time.Time `json:"modified"`
}

// Environment is one execution environment, as `thaw ps` shows it.
type Environment struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	Region      string    `json:"region"`
	Qualifier   string    `json:"qualifier"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`   // of the state
	Created     time.Time `json:"created"` //
	Invokes     uint64    `json:"invokes"`
	Spare       bool      `json:"spare,omitempty"`       // restored ahead of demand, not invoked yet
	Provisioned bool      `json:"provisioned,omitempty"` // part of a version's provisioned concurrency
	MemoryMiB   int       `json:"memoryMiB"`             // limit
	MemoryBytes int64     `json:"memoryBytes"`           // most that was held at the end of an invoke
	Sandbox     string    `json:"sandbox"`
	LogStream   string    `json:"logStream"`
	CodeSHA256  string    `json:"codeSha256"`
	Epoch       uint64    `json:"epoch"`
	PIDs        []int     `json:"pids"`
	Stages      []Stage   `json:"stages,omitempty"` // of making its sandbox
	Moves       []Move    `json:"moves"`            // the last ones, oldest first
}

// Stage is one step of making a sandbox.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Move is one step of an environment's life.
type Move struct {
	At      time.Time `json:"at"`
	From    string    `json:"from"`
	Event   string    `json:"event"`
	To      string    `json:"to"`
	Seconds float64   `json:"seconds"` // how long From had lasted
}

func environment(s execenv.Status) Environment {
	e := Environment{
		ID: s.ID, Function: s.Function, Region: s.Region, Qualifier: s.Qualifier, State: s.State, Since: s.Since, Created: s.Created, Invokes: s.Invokes, Spare: s.Spare, Provisioned: s.Provisioned,
		MemoryMiB: s.MemoryMiB, MemoryBytes: s.MemoryBytes, Sandbox: s.Sandbox, LogStream: s.LogStream, CodeSHA256: s.CodeSHA256, Epoch: s.Epoch, PIDs: s.PIDs,
	}
	for _, m := range s.Moves {
		e.Moves = append(e.Moves, Move{m.At, m.From, m.Event, m.To, m.Took.Seconds()})
	}
	for _, st := range s.Stages {
		e.Stages = append(e.Stages, Stage{st.Name, st.Seconds})
	}
	return e
}

// Options say what the server behind the door is.
type Options struct {
	DataDir      string
	Environments func() []execenv.Status
	Functions    func() []Function
	Logs         *logstore.Store
	Config       func() any // marshalled as it is
	Health       func() Health
	Drain        func()    // asks for the end and returns at once
	Snapshots    Snapshots // nil: the sandbox makes none
	Backup       Backup
	Events       Events
	Sources      func(context.Context) []Source
	Triggers     Triggers
	Access       *access.Store
	Log          *slog.Logger
}

// Server serves the door until it is closed.
type Server struct {
	o    Options
	http *http.Server
	path string
	end  context.CancelFunc
	done chan struct{}
}

// Open serves on the socket in o.DataDir. A socket that nobody listens on any more is replaced; *RunningError when somebody does.
func Open(o Options) (*Server, error) {
	l, err := listen(o.DataDir)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Server{o: o, path: filepath.Join(o.DataDir, socketName), end: end, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Health()) })
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Config()) })
	mux.HandleFunc("GET /v1/functions", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Functions()) })
	mux.HandleFunc("GET /v1/environments", s.environments)
	mux.HandleFunc("GET /v1/logs", s.logs)
	mux.HandleFunc("GET /v1/logs/groups", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Logs.Groups()) })
	mux.HandleFunc("GET /v1/logs/streams", s.streams)
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusAccepted)
		http.NewResponseController(w).Flush() // a server with nothing to finish may close this socket before the handler returns
		o.Drain()
	})
	mux.HandleFunc("GET /v1/backup", s.backup)
	s.snapshotRoutes(mux)
	s.eventRoutes(mux)
	s.sourceRoutes(mux)
	s.triggerRoutes(mux)
	s.accessRoutes(mux)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("the admin socket is gone", "err", err)
		}
	}()
	return s, nil
}

// Close ends the server and what it streams, and removes the socket.
func (s *Server) Close() error {
	s.end()
	err := errors.Join(s.http.Close(), os.Remove(s.path))
	<-s.done
	return err
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the peer is gone when this errs
}

// problem is the body of an error.
type problem struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(problem{err.Error()})
}

func (s *Server) environments(w http.ResponseWriter, _ *http.Request) {
	envs := []Environment{}
	for _, st := range s.o.Environments() {
		envs = append(envs, environment(st))
	}
	answer(w, envs)
}

func (s *Server) streams(w http.ResponseWriter, r *http.Request) {
	list, err := s.o.Logs.Streams(r.Context(), r.FormValue("group"))
	switch {
	case errors.Is(err, logstore.ErrNoGroup):
		refuse(w, http.StatusNotFound, err)
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
	default:
		answer(w, list)
	}
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	out := json.NewEncoder(w)
	if r.FormValue("follow") == "" {
		events, err := s.o.Logs.Filter(r.Context(), q)
		switch {
		case errors.Is(err, logstore.ErrNoGroup):
			refuse(w, http.StatusNotFound, err)
			return
		case err != nil:
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		for _, e := range events {
			out.Encode(e)
		}
		return
	}
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	flush.Flush()
	for e, err := range s.o.Logs.Follow(r.Context(), q) {
		if err != nil {
			out.Encode(problem{err.Error()})
			return
		}
		if out.Encode(e) != nil {
			return
		}
		flush.Flush()
	}
}

// queryOf reads the parameters of /v1/logs; times are Unix milliseconds.
func queryOf(r *http.Request) (logstore.Query, error) {
	q := logstore.Query{Group: r.FormValue("group"), StreamPrefix: r.FormValue("prefix"), Newest: r.FormValue("newest") != ""}
	if q.Group == "" {
		return q, errors.New("group is missing")
	}
	var err error
	number := func(name string) (n int64) {
		if text := r.FormValue(name); text != "" && err == nil {
			if n, err = strconv.ParseInt(text, 10, 64); err != nil {
				err = fmt.Errorf("%s: %q is no number", name, text)
			}
		}
		return n
	}
	if ms := number("since"); ms != 0 {
		q.Since = time.UnixMilli(ms)
	}
	if ms := number("until"); ms != 0 {
		q.Until = time.UnixMilli(ms)
	}
	q.Limit = int(number("limit"))
	q.After = uint64(number("after")) //nolint:gosec // nanoseconds: positive for some hundred years
	if err == nil {
		q.Pattern, err = logpattern.Parse(r.FormValue("pattern"))
	}
	return q, err
}
