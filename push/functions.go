package push

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"thaw/access"
	"thaw/async"
	"thaw/function"
	"thaw/iam"
	"thaw/invoke"
)

// Delivery is an event on its way from a source to a function.
type Delivery struct {
	// Function is the ARN of a function, a version or an alias.
	Function function.ARN
	// Service is who sends: sns.amazonaws.com. Source is the ARN of what it sends for, a topic, a rule, an API's route,
	// and Account its owner; empty: the function's.
	Service, Source, Account string
	// Role is the ARN of a role that the sender takes; empty: none. Its policies may allow what the function's does not.
	Role string
	// RequestID of the invocation; empty: a new one.
	RequestID string
	Payload   []byte // JSON
	// TraceID is the trace header that came with the event; empty: none did.
	TraceID, TraceState string
}

// Queue takes events whose senders do not wait; *async.Queue does.
type Queue interface {
	// Accept returns when the event is on disk. Errors: async.ErrFull, async.ErrStopping.
	Accept(ctx context.Context, e *async.Event) error
}

// Invoker has functions run; *invoke.Invoker does.
type Invoker interface {
	Find(k function.Key, q function.Qualifier, invoked function.ARN, dice float64) (*function.Entry, *function.VersionRecord, error)
	Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error)
}

// Functions is the way of sources to functions. It needs no end.
type Functions struct {
	Invoker Invoker
	Queue   Queue
	// Enforced says whether policies are asked: where signatures are verified.
	Enforced func() bool
	// Roles is who a service is that takes a role, by the role's trust; nil where it may not. nil: there are no roles.
	Roles func(service, role string) *access.Caller
}

// NotAllowedError says that a function's policy does not let a source invoke it.
type NotAllowedError struct {
	Function        function.ARN
	Service, Source string
	Role            string // that the sender takes; empty: none
}

// Error says what is missing, and the next thing to type.
func (e *NotAllowedError) Error() string {
	s := fmt.Sprintf("%s may not invoke %s", e.Service, e.Function)
	if e.Source != "" {
		s += " for " + e.Source
	}
	s += fmt.Sprintf(": the function's policy does not allow it; aws lambda add-permission --function-name %s --statement-id push --action lambda:InvokeFunction --principal %s",
		e.Function.Unqualified(), e.Service)
	if q := e.Function.Qualifier(); q != "" {
		s += " --qualifier " + string(q)
	}
	if e.Source != "" {
		s += " --source-arn " + e.Source
	}
	if e.Role != "" {
		s += "; or let the role " + e.Role + " do it at this server: thaw role put"
	}
	return s
}

// May says whether a delivery would be let through: *invoke.NotFoundError, *NotAllowedError.
func (f *Functions) May(d *Delivery) error {
	_, err := f.find(d)
	return err
}

func (f *Functions) find(d *Delivery) (target, error) {
	t, err := parse(d.Function)
	if err != nil {
		return t, err
	}
	entry, _, err := f.Invoker.Find(t.key, t.qualifier, d.Function, 1)
	if err != nil || !f.Enforced() {
		return t, err
	}
	who, in := access.ServiceOf(d.Service), iam.Context{}
	account := d.Account
	if account == "" {
		account = entry.Record.Account
	}
	in.Set("aws:SourceAccount", account)
	in.Set("aws:SourceArn", d.Source)
	if !access.MayInvoke(&who, entry.Record, t.qualifier, in).OK() {
		if d.Role != "" && f.Roles != nil {
			if who := f.Roles(d.Service, d.Role); who != nil && access.MayInvoke(who, entry.Record, t.qualifier, in).OK() {
				return t, nil
			}
		}
		return t, &NotAllowedError{Function: d.Function, Service: d.Service, Source: d.Source, Role: d.Role}
	}
	return t, nil
}

// Accept puts an event into the queue of its function, and returns its request ID when it is on disk. Errors:
// *invoke.NotFoundError, *NotAllowedError, async.ErrFull, async.ErrStopping.
func (f *Functions) Accept(ctx context.Context, d *Delivery) (requestID string, err error) {
	t, err := f.find(d)
	if err != nil {
		return "", err
	}
	e := &async.Event{Lane: async.Lane{Key: t.key, Qualifier: t.qualifier}, RequestID: d.id(), InvokedARN: d.Function,
		TraceID: d.TraceID, TraceState: d.TraceState, Payload: d.Payload}
	return e.RequestID, f.Queue.Accept(ctx, e)
}

// Invoke has the function run and returns how that ended. Errors: *NotAllowedError and those of invoke and pool.
func (f *Functions) Invoke(ctx context.Context, d *Delivery) (*invoke.Result, error) {
	return f.Stream(ctx, d, nil)
}

// Stream is Invoke whose answer goes to sink while it comes, where the function streams.
func (f *Functions) Stream(ctx context.Context, d *Delivery, sink function.StreamSink) (*invoke.Result, error) {
	t, err := f.find(d)
	if err != nil {
		return nil, err
	}
	return f.Invoker.Invoke(ctx, &invoke.Request{Function: t.key, Qualifier: t.qualifier, Invocation: function.Invocation{
		RequestID: d.id(), InvokedARN: d.Function, Event: d.Payload, TraceID: d.TraceID, TraceState: d.TraceState, Stream: sink}})
}

func (d *Delivery) id() string {
	if d.RequestID == "" {
		return uuid.NewString()
	}
	return d.RequestID
}

// target is what an ARN names.
type target struct {
	key       function.Key
	qualifier function.Qualifier
}

func parse(a function.ARN) (t target, err error) {
	r, err := function.ParseRead(string(a))
	if err != nil || r.Partition == "" {
		return t, fmt.Errorf("%q is not the ARN of a function", a)
	}
	t = target{function.Key{Account: r.Account, Region: r.Region, Name: r.Name}, r.Qualifier}
	if t.qualifier == "" {
		t.qualifier = function.Latest
	}
	return t, nil
}
