package controlplane

import (
	"context"
	"crypto/rand"

	"thaw/function"
)

// URLSettings are what a customer sets about a function URL, as far as said: a nil member keeps what is there.
type URLSettings struct {
	AuthType, InvokeMode *string
	CORS                 *function.CORS // an empty one takes it away
}

// CreateURL gives a function (q empty) or an alias a URL.
func (p *Plane) CreateURL(ctx context.Context, k function.Key, q function.Qualifier, s URLSettings) (function.URL, error) {
	return p.changeURL(ctx, k, q, s, func(r *function.Record, _ function.URL, there bool) (function.URL, error) {
		if there {
			return function.URL{}, refuse(Conflict, "Failed to create function url config for [functionArn = %s]. Error message:  "+
				"FunctionUrlConfig exists for this Lambda function", r.ARN().Qualified(q))
		}
		return function.URL{ID: newURLID(), Created: p.Now()}, nil
	})
}

// UpdateURL changes one.
func (p *Plane) UpdateURL(ctx context.Context, k function.Key, q function.Qualifier, s URLSettings) (function.URL, error) {
	return p.changeURL(ctx, k, q, s, func(_ *function.Record, was function.URL, there bool) (function.URL, error) {
		if !there {
			return was, ErrNoURL
		}
		return was, nil
	})
}

// ErrNoURL says that a function or alias has no URL.
var ErrNoURL = refuse(NotFound, "The resource you requested does not exist.")

// changeURL makes or changes a URL: base says what the settings are laid over, or refuses.
func (p *Plane) changeURL(ctx context.Context, k function.Key, q function.Qualifier, s URLSettings,
	base func(r *function.Record, was function.URL, there bool) (function.URL, error)) (u function.URL, err error) {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	_, err = p.Change(ctx, k, func(e *function.Entry, r *function.Record) error {
		if q != "" && e.Alias(q) == nil {
			return refuse(NotFound, "Function does not exist")
		}
		if r.Latest.Config.TenantIsolation != "" { // for good, so it is that of every version
			return NotForTenants("Function URL")
		}
		was, there := r.URLs[q]
		if u, err = base(r, was, there); err != nil {
			return err
		}
		set(&u.AuthType, s.AuthType)
		set(&u.InvokeMode, s.InvokeMode)
		if s.CORS != nil {
			if u.CORS = s.CORS; s.CORS.Empty() {
				u.CORS = nil
			}
		}
		u.Modified = p.Now()
		if r.URLs == nil {
			r.URLs = map[function.Qualifier]function.URL{}
		}
		r.URLs[q] = u
		return nil
	})
	return u, err
}

// DeleteURL takes a URL away, also one whose alias is gone.
func (p *Plane) DeleteURL(ctx context.Context, k function.Key, q function.Qualifier) error {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	_, err := p.Change(ctx, k, func(_ *function.Entry, r *function.Record) error {
		if _, there := r.URLs[q]; !there {
			return ErrNoURL
		}
		delete(r.URLs, q)
		return nil
	})
	return err
}

// newURLID makes the ID of a URL. Nobody can guess one: 160 bits are in it.
func newURLID() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567" // 32, so that a byte's remainder is fair
	var b [32]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b[:])
}
