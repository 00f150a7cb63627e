package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Trigger is something that pushes events to a function.
type Trigger struct {
	// Kind is s3, folder, sns, alb, topic, rule, schedule, api or logs: what the command line calls it.
	Kind     string    `json:"kind"`
	Name     string    `json:"name"`
	Region   string    `json:"region"`
	Function string    `json:"function"`     // ARN, of a version or an alias too
	From     string    `json:"from"`         // what pushes, in a few words: images/*.jpg, rate(1 minute)
	At       string    `json:"at,omitempty"` // URL that takes it, or folder
	Disabled bool      `json:"disabled,omitempty"`
	Events   uint64    `json:"events"`        // that went to the function since the server began
	Last     time.Time `json:"last,omitzero"` // the last of them
	Trouble  string    `json:"lastError,omitempty"`
	Troubled time.Time `json:"lastErrorAt,omitzero"`
	// Managed: it is made and removed by the operations of its service, and only shown here.
	Managed bool `json:"managed,omitempty"`
}

// NewTrigger is one that is to be made.
type NewTrigger struct {
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	Function string          `json:"function"` // ARN
	Settings json.RawMessage `json:"settings"` // of the kind
}

// MadeTrigger is one that was made. Token is told once; empty: it has none.
type MadeTrigger struct {
	Trigger
	Token string `json:"token,omitempty"`
}

// Triggers are what a server can tell of its triggers and do about them.
type Triggers interface {
	List(ctx context.Context) ([]Trigger, error)
	Add(ctx context.Context, t NewTrigger) (MadeTrigger, error)
	Remove(ctx context.Context, kind, name string) error
}

func (s *Server) triggerRoutes(mux *http.ServeMux) {
	all := s.o.Triggers
	mux.HandleFunc("GET /v1/triggers", onAccess(func(r *http.Request) (any, error) {
		list, err := all.List(r.Context())
		if list == nil {
			list = []Trigger{}
		}
		return list, err
	}))
	mux.HandleFunc("POST /v1/triggers", onAccess(func(r *http.Request) (any, error) {
		var t NewTrigger
		if err := decodeAccess(r, &t); err != nil {
			return nil, err
		}
		return all.Add(r.Context(), t)
	}))
	mux.HandleFunc("DELETE /v1/triggers/{kind}/{name}", onAccess(func(r *http.Request) (any, error) {
		return struct{}{}, all.Remove(r.Context(), r.PathValue("kind"), r.PathValue("name"))
	}))
}

// Triggers tells what pushes events to functions, in all regions.
func (c *Client) Triggers(ctx context.Context) (list []Trigger, err error) {
	return list, c.get(ctx, "triggers", &list)
}

// AddTrigger makes one.
func (c *Client) AddTrigger(ctx context.Context, t NewTrigger) (made MadeTrigger, err error) {
	return made, c.tell(ctx, http.MethodPost, "triggers", t, &made)
}

// RemoveTrigger takes one away.
func (c *Client) RemoveTrigger(ctx context.Context, kind, name string) error {
	return c.tell(ctx, http.MethodDelete, "triggers/"+url.PathEscape(kind)+"/"+url.PathEscape(name), nil, &struct{}{})
}
