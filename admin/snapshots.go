package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"thaw/snapshot"
)

// Snapshots are what a server can tell of its snapshots and do about them. A version is named NAME:NUMBER, or by its ARN; NAME alone is the newest that has
// a snapshot. Errors: fs.ErrNotExist for a version that has none, *snapshot.PolicyError, and *RefusedError.
type Snapshots interface {
	List() []Snapshot
	// Refresh makes a new generation and returns when it is current.
	Refresh(ctx context.Context, version string) (Snapshot, error)
	// Remove lets the current snapshot go: the next invoke runs Init and has a new one made.
	Remove(ctx context.Context, version string) (Snapshot, error)
	// SetPolicy sets the policy that counts instead of the function's tags; nil gives the word back to the tags.
	SetPolicy(ctx context.Context, version string, p *snapshot.Policy) (Snapshot, error)
	// Doctor restores a version twice, sends both copies one event, and says what is suspicious.
	Doctor(ctx context.Context, version string, event []byte) (Diagnosis, error)
}

// RefusedError says that what was asked cannot be done as things stand.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// Snapshot is what is known of one version's snapshots. Members of the current generation are zero when there is none.
type Snapshot struct {
	Function string `json:"function"` // name
	Version  string `json:"version"`
	ARN      string `json:"arn"`
	State    string `json:"state"`

	ID           string    `json:"id,omitempty"` // of the current one
	Generation   uint64    `json:"generation,omitempty"`
	Born         time.Time `json:"born,omitzero"` // when its Init began
	Created      time.Time `json:"created,omitzero"`
	Expires      time.Time `json:"expires,omitzero"`      // no invoke starts on it after that; absent: never
	StatedExpiry time.Time `json:"statedExpiry,omitzero"` // what the function said
	RefreshAt    time.Time `json:"refreshAt,omitzero"`    // when the next is made
	Bytes        int64     `json:"bytes,omitempty"`       // of its files
	OwnBytes     int64     `json:"ownBytes,omitempty"`    // as stored, of the pages that nothing else uses
	Pages        int       `json:"pages,omitempty"`       // kept for it, 4 KiB each
	SharedPages  int       `json:"sharedPages,omitempty"` // of these, used by other snapshots too
	SharedShare  float64   `json:"sharedShare"`           // 0 to 1
	Hooks        []string  `json:"hooks,omitempty"`
	Primed       int       `json:"primed,omitempty"`
	MakeSeconds  float64   `json:"makeSeconds,omitempty"`
	Stages       []Stage   `json:"stages,omitempty"` // of the making
	Note         string    `json:"note,omitempty"`   // what the sandbox had to say of it

	Key          *snapshot.Key   `json:"key,omitempty"`
	KeyHash      string          `json:"keyHash,omitempty"`
	Policy       snapshot.Policy `json:"policy"`
	PolicyFrom   string          `json:"policyFrom"` // api, tags, none
	Making       uint64          `json:"making,omitempty"`
	Failures     int             `json:"failures,omitempty"` // in a row
	LastFailed   time.Time       `json:"lastFailed,omitzero"`
	LastError    string          `json:"lastError,omitempty"`
	LastUsed     time.Time       `json:"lastUsed,omitzero"`
	Environments int             `json:"environments"` // that were restored from the current one and live
}

// Diagnosis is what a doctor found.
type Diagnosis struct {
	Snapshot Snapshot     `json:"snapshot"`
	Copies   []DoctorCopy `json:"copies"`
	Findings []Finding    `json:"findings"`
}

// DoctorCopy is one of the environments that were compared.
type DoctorCopy struct {
	Env           string  `json:"env"`
	LogStream     string  `json:"logStream"`
	FunctionError string  `json:"functionError,omitempty"`
	ReadySeconds  float64 `json:"readySeconds"` // until it could take the event
}

// Finding is one thing that a doctor looked at.
type Finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warn, fail, unseen
	Text   string `json:"text"`
}

func (s *Server) snapshotRoutes(mux *http.ServeMux) {
	if s.o.Snapshots == nil {
		none := func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusConflict, errors.New("the sandbox of this server makes no snapshots: they need gvisor"))
		}
		mux.HandleFunc("/v1/snapshots", none)
		mux.HandleFunc("/v1/snapshots/", none)
		return
	}
	all := s.o.Snapshots
	mux.HandleFunc("GET /v1/snapshots", func(w http.ResponseWriter, _ *http.Request) { answer(w, all.List()) })
	mux.HandleFunc("POST /v1/snapshots/refresh", onVersion(func(r *http.Request, version string) (any, error) { return all.Refresh(r.Context(), version) }))
	mux.HandleFunc("POST /v1/snapshots/remove", onVersion(func(r *http.Request, version string) (any, error) { return all.Remove(r.Context(), version) }))
	mux.HandleFunc("PUT /v1/snapshots/policy", onVersion(func(r *http.Request, version string) (any, error) {
		p := new(snapshot.Policy)
		if err := decode(r, p); err != nil {
			return nil, err
		}
		return all.SetPolicy(r.Context(), version, p)
	}))
	mux.HandleFunc("DELETE /v1/snapshots/policy", onVersion(func(r *http.Request, version string) (any, error) {
		return all.SetPolicy(r.Context(), version, nil)
	}))
	mux.HandleFunc("POST /v1/snapshots/doctor", onVersion(func(r *http.Request, version string) (any, error) {
		var event json.RawMessage
		if err := decode(r, &event); err != nil {
			return nil, err
		}
		return all.Doctor(r.Context(), version, event)
	}))
}

// maxBody bounds the body of a request: an event at most. Source: Lambda quotas, 6 MB.
const maxBody = 6 << 20

func decode(r *http.Request, v any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &snapshot.PolicyError{Where: "body", Err: err}
	}
	return nil
}

// onVersion answers with what f says about the version that the request names.
func onVersion(f func(r *http.Request, version string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r, r.URL.Query().Get("version"))
		switch {
		case err == nil:
			answer(w, v)
		case errors.Is(err, fs.ErrNotExist):
			refuse(w, http.StatusNotFound, err)
		case errors.As(err, new(*snapshot.PolicyError)):
			refuse(w, http.StatusBadRequest, err)
		case errors.As(err, new(*RefusedError)), errors.As(err, new(*snapshot.BadMoveError)):
			refuse(w, http.StatusConflict, err)
		default:
			refuse(w, http.StatusInternalServerError, err)
		}
	}
}

// Snapshots lists what is known of every version's snapshots.
func (c *Client) Snapshots(ctx context.Context) (list []Snapshot, err error) {
	return list, c.get(ctx, "snapshots", &list)
}

// RefreshSnapshot has a new generation made and waits for it.
func (c *Client) RefreshSnapshot(ctx context.Context, version string) (s Snapshot, err error) {
	return s, c.ask(ctx, http.MethodPost, "refresh", version, nil, &s)
}

// RemoveSnapshot lets the current snapshot of a version go.
func (c *Client) RemoveSnapshot(ctx context.Context, version string) (s Snapshot, err error) {
	return s, c.ask(ctx, http.MethodPost, "remove", version, nil, &s)
}

// SetSnapshotPolicy sets the policy of a version; nil gives the word back to the function's tags.
func (c *Client) SetSnapshotPolicy(ctx context.Context, version string, p *snapshot.Policy) (s Snapshot, err error) {
	if p == nil {
		return s, c.ask(ctx, http.MethodDelete, "policy", version, nil, &s)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return s, fmt.Errorf("policy: %w", err)
	}
	return s, c.ask(ctx, http.MethodPut, "policy", version, body, &s)
}

// SnapshotDoctor compares two copies of a version; event is JSON.
func (c *Client) SnapshotDoctor(ctx context.Context, version string, event []byte) (d Diagnosis, err error) {
	return d, c.ask(ctx, http.MethodPost, "doctor", version, event, &d)
}
