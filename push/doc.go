// Package push is what sources have in common that push: services which have events of their own and functions that they
// are to go to. Their records are kept (Table), a function's policy is asked (Functions), and what nobody waits for is on
// disk before it is acknowledged.
//
// It knows no source, no HTTP and no broker.
package push

import (
	"context"
	"errors"
)

// ErrStale refuses a change of a record that somebody else has changed since it was read.
var ErrStale = errors.New("the record was changed by another request")

// ErrNone says that there is no such record.
var ErrNone = errors.New("there is no such record")

// Document is one stored record.
type Document struct {
	Key      string
	Value    []byte // JSON
	Revision uint64 // the store's; 0: it is not there yet
}

// Documents keeps the records of one kind. What Put and Delete have acknowledged survives the death of the machine.
type Documents interface {
	// Put stores a value if the record's revision is still was; 0: if there is none. ErrStale.
	Put(ctx context.Context, key string, value []byte, was uint64) (now uint64, err error)
	// Delete removes a record if its revision is still was. ErrStale.
	Delete(ctx context.Context, key string, was uint64) error
	List(ctx context.Context) ([]Document, error)
}
