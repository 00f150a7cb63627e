// Package courier takes what rules and schedules send to their targets: to a function's asynchronous queue, or to the outbox.
// Either way it is on disk when Send returns.
package courier

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"thaw/async"
	"thaw/function"
	"thaw/invoke"
	"thaw/outbox"
	"thaw/push"
)

// Functions takes events for functions; *push.Functions does.
type Functions interface {
	// Accept returns when the event is on disk.
	Accept(ctx context.Context, d *push.Delivery) (requestID string, err error)
}

// Box takes letters for everybody else; *outbox.Outbox does.
type Box interface {
	// Accept returns when the letter is on disk.
	Accept(ctx context.Context, l *outbox.Letter) error
}

// Courier sends. It needs no end.
type Courier struct {
	Functions Functions
	Box       Box
	Log       *slog.Logger
	Now       func() time.Time

	tallies tallies
}

// Parcel is what one target gets.
type Parcel struct {
	// Letter says whom it is for, and what becomes of it if it cannot be delivered. Its To may be a function.
	Letter *outbox.Letter
	// The rest is for functions: who sends, for what, and as which role. RequestID may be empty.
	Service, Source, Account, Role, RequestID string
}

// Send returns when a parcel is on disk: with its target's queue, with the outbox, or as a dead letter. An error says
// that it is nowhere, and that sending it again may help.
func (c *Courier) Send(ctx context.Context, p *Parcel) error {
	l := p.Letter
	if service, _, _ := parts(l.To); service != "lambda" {
		return c.Box.Accept(ctx, l)
	}
	payload := l.Body
	if !json.Valid(payload) { // a template may make text, and functions get JSON
		payload, _ = json.Marshal(string(payload)) //nolint:errcheck // a string
	}
	_, err := c.Functions.Accept(ctx, &push.Delivery{Function: function.ARN(l.To), Service: p.Service, Source: p.Source, Account: p.Account, Role: p.Role,
		RequestID: p.RequestID, Payload: payload, TraceID: l.Trace})
	c.tallies.note(p.Source, l.To, c.Now(), err)
	f := &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*push.NotAllowedError)):
		f.Code = outbox.NoPermissions
	case errors.As(err, new(*invoke.NotFoundError)):
		f.Code = outbox.NoResource
	case errors.Is(err, async.ErrFull), errors.Is(err, async.ErrStopping), ctx.Err() != nil:
		return err
	}
	return c.Dead(ctx, p, f)
}

// Dead has the dead-letter queue of a target told what cannot be sent; without one it is lost, and the log says why.
func (c *Courier) Dead(ctx context.Context, p *Parcel, f *outbox.Failure) error {
	l := outbox.Dead(p.Letter, f, 1, "", c.Now())
	if l == nil {
		c.Log.Error("something was not sent to a target, which has no dead-letter queue", "for", p.Source, "target", p.Letter.To, "error", f)
		return nil
	}
	c.Log.Warn("something was not sent to a target, and goes to its dead-letter queue", "for", p.Source, "target", p.Letter.To, "error", f)
	return c.Box.Accept(ctx, l)
}
