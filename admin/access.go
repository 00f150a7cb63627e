package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"thaw/access"
)

// NewKey is an access key with its secret, which is told once.
type NewKey struct {
	access.Key
	SecretAccessKey string `json:"secretAccessKey"`
}

// ownerLife is how long the credentials are good with which the commands of this host sign.
const ownerLife = time.Hour

func (s *Server) accessRoutes(mux *http.ServeMux) {
	all := s.o.Access
	mux.HandleFunc("GET /v1/keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, all.Keys()) })
	mux.HandleFunc("POST /v1/keys", onAccess(func(r *http.Request) (any, error) {
		var k access.Key
		if err := decodeAccess(r, &k); err != nil {
			return nil, err
		}
		k, secret, err := all.AddKey(k)
		return NewKey{k, secret}, err
	}))
	mux.HandleFunc("DELETE /v1/keys/{id}", onAccess(func(r *http.Request) (any, error) { return struct{}{}, all.RemoveKey(r.PathValue("id")) }))
	mux.HandleFunc("GET /v1/roles", func(w http.ResponseWriter, _ *http.Request) { answer(w, all.Roles()) })
	mux.HandleFunc("PUT /v1/roles", onAccess(func(r *http.Request) (any, error) {
		var role access.Role
		if err := decodeAccess(r, &role); err != nil {
			return nil, err
		}
		return all.PutRole(role)
	}))
	mux.HandleFunc("DELETE /v1/roles/{name}", onAccess(func(r *http.Request) (any, error) { return struct{}{}, all.RemoveRole(r.PathValue("name")) }))
	// Whoever can use this door may do everything already.
	mux.HandleFunc("POST /v1/session", onAccess(func(*http.Request) (any, error) { return all.Issue(access.Session{Root: true, Life: ownerLife}) }))
}

func decodeAccess(r *http.Request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(v); err != nil {
		return fmt.Errorf("%w: %w", access.ErrInvalid, err)
	}
	return nil
}

func onAccess(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		switch {
		case err == nil:
			answer(w, v)
		case errors.Is(err, access.ErrNotFound):
			refuse(w, http.StatusNotFound, err)
		case errors.Is(err, access.ErrInvalid):
			refuse(w, http.StatusBadRequest, err)
		default:
			refuse(w, http.StatusInternalServerError, err)
		}
	}
}

// Keys lists the access keys, without their secrets.
func (c *Client) Keys(ctx context.Context) (list []access.Key, err error) {
	return list, c.get(ctx, "keys", &list)
}

// AddKey makes an access key.
func (c *Client) AddKey(ctx context.Context, k access.Key) (made NewKey, err error) {
	return made, c.tell(ctx, http.MethodPost, "keys", k, &made)
}

// RemoveKey takes an access key away.
func (c *Client) RemoveKey(ctx context.Context, id string) error {
	return c.tell(ctx, http.MethodDelete, "keys/"+url.PathEscape(id), nil, &struct{}{})
}

// Roles lists the roles.
func (c *Client) Roles(ctx context.Context) (list []access.Role, err error) {
	return list, c.get(ctx, "roles", &list)
}

// PutRole says what a role may do.
func (c *Client) PutRole(ctx context.Context, r access.Role) (put access.Role, err error) {
	return put, c.tell(ctx, http.MethodPut, "roles", r, &put)
}

// RemoveRole takes a role away.
func (c *Client) RemoveRole(ctx context.Context, name string) error {
	return c.tell(ctx, http.MethodDelete, "roles/"+url.PathEscape(name), nil, &struct{}{})
}

// Session gives credentials with which commands of this host may do everything, for an hour.
func (c *Client) Session(ctx context.Context) (t access.Temporary, err error) {
	return t, c.tell(ctx, http.MethodPost, "session", nil, &t)
}

// tell sends a value and reads the answer.
func (c *Client) tell(ctx context.Context, method, what string, v, into any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	body, err := c.send(ctx, method, what, bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}
