package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Events are what a server can tell of its asynchronous events and do about them.
type Events interface {
	// List tells of every qualifier that has some.
	List(ctx context.Context) ([]Backlog, error)
	// Purge forgets those of a function: NAME of all its qualifiers, NAME:QUALIFIER of one. It returns what they were.
	Purge(ctx context.Context, function string) ([]Backlog, error)
}

// Backlog is the asynchronous events of one qualifier of a function.
type Backlog struct {
	Function  string    `json:"function"` // name
	Region    string    `json:"region"`
	Qualifier string    `json:"qualifier"`
	Events    int       `json:"events"`          // on disk
	Running   int       `json:"running"`         // in flight
	Waiting   int       `json:"waiting"`         // for another attempt
	Untold    int       `json:"untold"`          // ended; a destination is still to be told
	Oldest    time.Time `json:"oldest,omitzero"` // when the oldest was accepted
	Paused    time.Time `json:"paused,omitzero"` // nothing is tried before, for want of concurrency or platform
}

func (s *Server) eventRoutes(mux *http.ServeMux) {
	respond := func(w http.ResponseWriter, list []Backlog, err error) {
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		if list == nil {
			list = []Backlog{}
		}
		answer(w, list)
	}
	mux.HandleFunc("GET /v1/async", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.o.Events.List(r.Context())
		respond(w, list, err)
	})
	mux.HandleFunc("POST /v1/async/purge", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.o.Events.Purge(r.Context(), r.URL.Query().Get("function"))
		respond(w, list, err)
	})
}

// Backlog tells of the asynchronous events that are not done.
func (c *Client) Backlog(ctx context.Context) (list []Backlog, err error) {
	return list, c.get(ctx, "async", &list)
}

// PurgeEvents forgets the asynchronous events of a function, or of one qualifier of it.
func (c *Client) PurgeEvents(ctx context.Context, function string) (list []Backlog, err error) {
	body, err := c.do(ctx, http.MethodPost, "async/purge?"+url.Values{"function": {function}}.Encode())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	return list, nil
}
