package push_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"thaw/async"
	"thaw/function"
	"thaw/invoke"
	"thaw/push"
)

const (
	worker = function.ARN("arn:aws:lambda:eu-west-1:123456789012:function:worker")
	topic  = "arn:aws:sns:eu-west-1:123456789012:orders"
)

type queue struct{ events []*async.Event }

func (q *queue) Accept(_ context.Context, e *async.Event) error {
	q.events = append(q.events, e)
	return nil
}

func functions(t *testing.T, enforced bool) (*push.Functions, *queue) {
	t.Helper()
	view, q := function.NewView(), &queue{}
	r := &function.Record{Key: function.Key{Account: "123456789012", Region: "eu-west-1", Name: "worker"}, Partition: "aws", Revision: 1,
		Policies: map[function.Qualifier][]function.Permission{"": {{ID: "a", Action: "lambda:InvokeFunction", Service: "sns.amazonaws.com", SourceARN: topic}}}}
	view.Apply(function.Change{Revision: 1, Key: r.Key, Function: r})
	view.Loaded()
	return &push.Functions{Invoker: invoke.New(invoke.Options{View: view}), Queue: q, Enforced: func() bool { return enforced }}, q
}

// A function's policy decides which service may send it events, and for which source, where policies are asked; the
// refusal says what to type.
func TestPolicyOfTheFunction(t *testing.T) {
	for _, c := range []struct {
		name     string
		enforced bool
		d        push.Delivery
		want     string // in the error; empty: accepted
	}{
		{"the source that the policy names", true, push.Delivery{Function: worker, Service: "sns.amazonaws.com", Source: topic}, ""},
		{"another source", true, push.Delivery{Function: worker, Service: "sns.amazonaws.com", Source: topic + "2"}, "--principal sns.amazonaws.com --source-arn " + topic + "2"},
		{"another service", true, push.Delivery{Function: worker, Service: "s3.amazonaws.com", Source: topic}, "s3.amazonaws.com may not invoke"},
		{"another service, unsigned", false, push.Delivery{Function: worker, Service: "s3.amazonaws.com"}, ""},
		{"a qualifier without a policy", true, push.Delivery{Function: worker + ":$LATEST", Service: "events.amazonaws.com"}, "may not invoke"},
		{"no function", false, push.Delivery{Function: worker + "s", Service: "sns.amazonaws.com"}, "not found"},
		{"no ARN", false, push.Delivery{Function: "worker", Service: "sns.amazonaws.com"}, "is not the ARN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, q := functions(t, c.enforced)
			c.d.Payload = []byte(`{}`)
			id, err := f.Accept(t.Context(), &c.d)
			if c.want == "" {
				if err != nil || len(q.events) != 1 || q.events[0].RequestID != id || q.events[0].Lane.Qualifier != function.Latest {
					t.Fatalf("%v, %+v", err, q.events)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || len(q.events) > 0 {
				t.Fatalf("%v, want %q; %d events", err, c.want, len(q.events))
			}
			if c.enforced && !errors.As(err, new(*push.NotAllowedError)) {
				t.Errorf("%T", err)
			}
		})
	}
}
