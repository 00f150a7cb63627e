package controlplane

import (
	"context"
	"encoding/json"
	"slices"

	"thaw/function"
	"thaw/internal/plainjson"
)

// PutPolicy makes a document the whole policy of a function (q empty), or of one of its versions or aliases, in the place
// of what was there. Whoever calls has seen to it that the document can be read as a policy.
func (p *Plane) PutPolicy(ctx context.Context, k function.Key, q function.Qualifier, revision, document string) (*function.Entry, error) {
	return p.changePolicy(ctx, k, q, func(e *function.Entry, r *function.Record) error {
		if err := checkPolicyOf(e, q, revision); err != nil {
			return err
		}
		return setDocument(r, q, document)
	})
}

// DeletePolicy takes the whole policy away.
func (p *Plane) DeletePolicy(ctx context.Context, k function.Key, q function.Qualifier, revision string) error {
	_, err := p.changePolicy(ctx, k, q, func(e *function.Entry, r *function.Record) error {
		if err := checkPolicyOf(e, q, revision); err != nil {
			return err
		}
		if len(r.Policies[q]) == 0 && r.Documents[q] == "" {
			return errNoPolicy
		}
		delete(r.Policies, q)
		delete(r.Documents, q)
		return nil
	})
	return err
}

var errNoPolicy = refuse(NotFound, "No policy is associated with the given resource.")

func checkPolicyOf(e *function.Entry, q function.Qualifier, revision string) error {
	if q == function.Latest {
		return errLatestPolicy
	}
	if err := checkNamed(e, q); err != nil {
		return err
	}
	return checkPolicyRevision(e, q, revision)
}

func setDocument(r *function.Record, q function.Qualifier, document string) error {
	if n := len(document); n > maxPolicy {
		return policyTooLong(n)
	}
	if r.Documents == nil {
		r.Documents = map[function.Qualifier]string{}
	}
	r.Documents[q] = document
	delete(r.Policies, q)
	return nil
}

// document is a policy as it was put, as far as statements are added to it and removed from it.
type document struct {
	Version   string          `json:",omitempty"`
	ID        string          `json:"Id,omitempty"`
	Statement json.RawMessage // one, or a list of them
}

func (d *document) statements() (list []json.RawMessage, err error) {
	if len(d.Statement) > 0 && d.Statement[0] == '{' {
		return []json.RawMessage{d.Statement}, nil
	}
	return list, json.Unmarshal(d.Statement, &list)
}

// editDocument gives the statements of a document to f, and returns the document with what f makes of them; empty: there
// is none left.
func editDocument(text string, f func([]json.RawMessage) ([]json.RawMessage, error)) (string, error) {
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return "", err
	}
	list, err := d.statements()
	if err != nil {
		return "", err
	}
	if list, err = f(list); err != nil || len(list) == 0 {
		return "", err
	}
	if d.Statement, err = plainjson.Marshal(list); err != nil {
		return "", err
	}
	b, err := plainjson.Marshal(d)
	return string(b), err
}

// hasID says whether a statement of a document is called so.
func hasID(id string) func(json.RawMessage) bool {
	return func(statement json.RawMessage) bool {
		var s struct{ Sid string }
		return json.Unmarshal(statement, &s) == nil && s.Sid == id
	}
}

// addToDocument adds a statement to a policy that was put as a whole.
func addToDocument(r *function.Record, q function.Qualifier, id string, statement []byte) error {
	text, err := editDocument(r.Documents[q], func(list []json.RawMessage) ([]json.RawMessage, error) {
		if slices.ContainsFunc(list, hasID(id)) {
			return nil, statementExists(id)
		}
		return append(list, statement), nil
	})
	if err != nil {
		return err
	}
	return setDocument(r, q, text)
}

// removeFromDocument takes a statement out of one.
func removeFromDocument(r *function.Record, q function.Qualifier, id string) error {
	text, err := editDocument(r.Documents[q], func(list []json.RawMessage) ([]json.RawMessage, error) {
		next := slices.DeleteFunc(slices.Clone(list), hasID(id))
		if len(next) == len(list) {
			return nil, noStatement(id)
		}
		return next, nil
	})
	if err != nil {
		return err
	}
	if text == "" {
		delete(r.Documents, q)
		return nil
	}
	return setDocument(r, q, text)
}
