// Package iam is how AWS decides who may do what: policy documents, and their evaluation. It is pure: no clock, no
// store, no HTTP. Who asks brings the policies that concern a request, and what is known of it.
//
// Source: AWS IAM User Guide, "IAM JSON policy element reference" and "Policy evaluation logic".
package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxPolicyBytes is how long a document may be. Source: IAM quotas, resource policies of Lambda.
const MaxPolicyBytes = 20480

// Policy is a document that was read. The zero value allows nothing.
type Policy struct {
	Statements []Statement
	variables  bool // of version 2012-10-17
}

// Statement is one rule.
type Statement struct {
	ID         string
	Deny       bool
	Principals *Principals // nil: of whoever the policy is bound to
	Actions    []string
	NotActions bool // all but Actions
	Resources  []string
	// NotResources: all but Resources. Neither: the resource that the policy is bound to.
	NotResources bool
	Conditions   []Condition
}

// Principals are who a statement of a resource's policy is about.
type Principals struct {
	Anybody  bool
	AWS      []string // ARNs of accounts' roots, users, roles and their sessions
	Services []string // s3.amazonaws.com
}

// Kind says what a document is bound to.
type Kind uint8

// The kinds of policy. They differ in the elements that they must have.
const (
	Identity Kind = iota // a user, a role or a session: Resource, no Principal
	Resource             // a function, a layer: Principal, and Resource
	Trust                // a role: Principal, no Resource
)

// Parse reads a document. What is not understood is an error: a rule that is left out would allow too much, or deny too
// little.
func Parse(text []byte, kind Kind) (*Policy, error) {
	if len(text) > MaxPolicyBytes {
		return nil, fmt.Errorf("the policy has %d bytes; it may have %d", len(text), MaxPolicyBytes)
	}
	var doc struct {
		Version, ID string
		Statement   oneOrMore[wireStatement]
	}
	if err := strictly(text, &doc); err != nil {
		return nil, err
	}
	if doc.Version != "" && doc.Version != "2012-10-17" && doc.Version != "2008-10-17" {
		return nil, fmt.Errorf("the Version is %q; it must be 2012-10-17", doc.Version)
	}
	if len(doc.Statement) == 0 {
		return nil, errors.New("the policy has no Statement")
	}
	p := &Policy{variables: doc.Version == "2012-10-17"}
	for i, w := range doc.Statement {
		s, err := w.statement(kind)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.Statements = append(p.Statements, s)
	}
	return p, nil
}

// strictly decodes one value, refusing unknown members and what follows it.
func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("no policy document: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("no policy document: something follows it")
	}
	return nil
}

// oneOrMore is a value, or a list of them.
type oneOrMore[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		var list []T
		if err := strictly(b, &list); err != nil {
			return err
		}
		*l = list
		return nil
	}
	var one T
	if err := strictly(b, &one); err != nil {
		return err
	}
	*l = oneOrMore[T]{one}
	return nil
}

// texts are the values of a condition: JSON's strings, numbers and booleans.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *texts) UnmarshalJSON(b []byte) error {
	var list oneOrMore[json.RawMessage]
	if err := list.UnmarshalJSON(b); err != nil {
		return err
	}
	out := make(texts, 0, len(list))
	for _, raw := range list {
		switch {
		case len(raw) > 0 && raw[0] == '"':
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			out = append(out, s)
		case len(raw) > 0 && (raw[0] == '{' || raw[0] == '['), string(raw) == "null":
			return errors.New("a value of a condition is neither a text nor a number")
		default:
			out = append(out, string(raw))
		}
	}
	*l = out
	return nil
}

// wireStatement is a statement as it is written.
type wireStatement struct {
	Sid, Effect                              string
	Principal                                json.RawMessage
	Action, NotAction, Resource, NotResource oneOrMore[string]
	Condition                                map[string]map[string]texts
}

func (w *wireStatement) statement(kind Kind) (s Statement, err error) {
	s = Statement{ID: w.Sid, Deny: w.Effect == "Deny", NotActions: w.Action == nil, NotResources: w.NotResource != nil}
	if w.Effect != "Allow" && w.Effect != "Deny" {
		return s, fmt.Errorf("the Effect is %q; it must be Allow or Deny", w.Effect)
	}
	if s.Actions = append(w.Action, w.NotAction...); (w.Action == nil) == (w.NotAction == nil) || len(s.Actions) == 0 {
		return s, errors.New("it must have one of Action and NotAction")
	}
	for _, a := range s.Actions {
		if a != "*" && !strings.Contains(a, ":") {
			return s, fmt.Errorf("the action %q is not of the form service:Action", a)
		}
	}
	if s.Resources = append(w.Resource, w.NotResource...); w.Resource != nil && w.NotResource != nil {
		return s, errors.New("it must have one of Resource and NotResource")
	}
	switch {
	case kind == Trust && s.Resources != nil:
		return s, errors.New("a role's trust policy has no Resource")
	case kind != Trust && len(s.Resources) == 0:
		return s, errors.New("it must have one of Resource and NotResource")
	}
	for _, r := range s.Resources {
		if r != "*" && strings.Count(r, ":") < 5 {
			return s, fmt.Errorf("the resource %q is neither * nor of the form arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE", r)
		}
	}
	switch {
	case kind == Identity && w.Principal != nil:
		return s, errors.New("a policy of a user or a role has no Principal")
	case kind != Identity:
		if s.Principals, err = readPrincipals(w.Principal); err != nil {
			return s, err
		}
	}
	s.Conditions, err = readConditions(w.Condition)
	return s, err
}

func readPrincipals(raw json.RawMessage) (*Principals, error) {
	p := &Principals{}
	if string(raw) == `"*"` {
		p.Anybody = true
		return p, nil
	}
	var who map[string]oneOrMore[string]
	if err := json.Unmarshal(raw, &who); err != nil || len(who) == 0 {
		return nil, errors.New(`the Principal is neither "*" nor an object such as {"AWS": "arn:..."}`)
	}
	for kind, list := range who {
		for _, name := range list {
			switch {
			case kind == "AWS" && name == "*":
				p.Anybody = true
			case kind == "AWS" && isAccount(name), kind == "AWS" && strings.HasPrefix(name, "arn:") && !strings.ContainsAny(name, "*?"):
				p.AWS = append(p.AWS, name)
			case kind == "Service" && name != "":
				p.Services = append(p.Services, name)
			default:
				return nil, fmt.Errorf("the principal %s %q is not supported: an account, an ARN without wildcards, or a Service", kind, name)
			}
		}
	}
	return p, nil
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
