package function

import (
	"maps"
	"time"
)

// EventInvoke is how asynchronous invocations of one qualifier are treated: FunctionEventInvokeConfig. It is stored:
// members may be added, never renamed.
type EventInvoke struct {
	MaxRetries    *int      `json:",omitempty"` // 0 to 2; nil: 2
	MaxAgeSeconds *int      `json:",omitempty"` // 60 to 21,600; nil: 21,600
	OnSuccess     string    `json:",omitempty"` // ARN of a destination
	OnFailure     string    `json:",omitempty"`
	Modified      time.Time // when it was put or updated
}

// Limits and defaults of asynchronous invocations. Source: Lambda API reference, PutFunctionEventInvokeConfig.
const (
	MaxAsyncPayload       = 1 << 20   // bytes, since October 2025
	MaxInvokeAsyncPayload = 256 << 10 // of the older InvokeAsync
	DefaultRetries        = 2
	DefaultEventAge       = 6 * time.Hour
	MinEventAge           = time.Minute
	MaxEventAge           = DefaultEventAge
	MaxRetryAttempts      = DefaultRetries
)

// AsyncPolicy is what holds for the events of one qualifier: an EventInvoke, its defaults filled in, and the dead-letter
// queue of the version.
type AsyncPolicy struct {
	MaxRetries           int
	MaxAge               time.Duration
	OnSuccess, OnFailure string
	DeadLetter           string
}

// AsyncPolicy returns what holds for events that were sent to a qualifier of the function; the empty one is $LATEST. ran
// is the version that ran, if one did: the dead-letter queue is its own. Nothing is inherited from one qualifier to another.
func (e *Entry) AsyncPolicy(qualifier Qualifier, ran VersionNumber) AsyncPolicy {
	if qualifier == "" {
		qualifier = Latest
	}
	p := AsyncPolicy{MaxRetries: DefaultRetries, MaxAge: DefaultEventAge}
	if c, ok := e.Record.EventInvoke[qualifier]; ok {
		if c.MaxRetries != nil {
			p.MaxRetries = *c.MaxRetries
		}
		if c.MaxAgeSeconds != nil {
			p.MaxAge = time.Duration(*c.MaxAgeSeconds) * time.Second
		}
		p.OnSuccess, p.OnFailure = c.OnSuccess, c.OnFailure
	}
	v := e.Named(Qualifier(ran))
	if ran == "" || v == nil {
		v = e.Named(qualifier)
	}
	if v != nil {
		p.DeadLetter = v.Config.DeadLetterARN
	}
	return p
}

func cloneEventInvoke(m map[Qualifier]EventInvoke) map[Qualifier]EventInvoke {
	m = maps.Clone(m)
	for q, c := range m {
		if c.MaxRetries != nil {
			n := *c.MaxRetries
			c.MaxRetries = &n
		}
		if c.MaxAgeSeconds != nil {
			n := *c.MaxAgeSeconds
			c.MaxAgeSeconds = &n
		}
		m[q] = c
	}
	return m
}
