package function

import (
	"context"
	"errors"
)

// What a Store may answer besides its own failures.
var (
	ErrExists = errors.New("function exists")
	ErrStale  = errors.New("record changed meanwhile")
)

// Store keeps records. What a method has acknowledged survives the death of the process and of the machine. The conformance suite
// is functiontest.
//
// A record's Revision is the store's answer to "is this still what I read?": revisions of one store grow with every write to any record.
type Store interface {
	// Create stores a new function and sets its Revision; ErrExists when the key is taken.
	Create(ctx context.Context, r *Record) error
	// Update replaces the record if nobody did since r.Revision, and sets the new one; ErrStale otherwise, also when it was deleted.
	Update(ctx context.Context, r *Record) error
	// Delete removes the record if nobody changed it since r.Revision, and sets r.Revision to the deletion's; ErrStale otherwise.
	Delete(ctx context.Context, r *Record) error
	// PutVersion stores a published version: a new one when v.Revision is 0, else a change of exactly that revision (ErrStale). It
	// sets the new Revision. It is invisible until the function's record lists the number.
	PutVersion(ctx context.Context, k Key, incarnation uint64, v *VersionRecord) error
	// DeleteVersion removes a version's record; one that is not there is no error.
	DeleteVersion(ctx context.Context, k Key, incarnation uint64, number int) error
	// Epoch returns a number that no call for this store ever returned before, greater than all of them.
	Epoch(ctx context.Context) (uint64, error)
	// Watch calls apply, from one goroutine at a time and in the order of revisions, with everything stored and then with every
	// change, its own included. It returns when everything stored at the call has been applied. stop ends it and waits.
	Watch(ctx context.Context, apply func(Change)) (stop func(), err error)
	// Complete answers nil when every record that was ever acknowledged, and not deleted, is known to be in the store.
	// Else the error says why that is not known. Records that are there are good all the same.
	//
	// Every sweep asks it first: whatever deletes something because no record names it (packages, snapshots, versions,
	// records of snapshots) must leave everything as it is while the answer is an error, because the owner's record may
	// be the one that is lost.
	Complete() error
}

// Change is one write as Watch tells it. Function and Version both nil: Key (or its version Number) was deleted, or, with an empty
// Key, the revision was used for something else.
type Change struct {
	Revision    uint64
	Key         Key
	Incarnation uint64         // of versions
	Number      int            // of versions; 0: the function's record
	Function    *Record        // Revision set
	Version     *VersionRecord // Revision set
}
