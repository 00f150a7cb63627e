package eventsource

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Records stores mappings.
type Records interface {
	// Put stores a mapping whose last revision was m.Revision, 0 for a new one. ErrStale.
	Put(ctx context.Context, m *Mapping) (revision uint64, err error)
	// Delete removes it; that it is not there is no error.
	Delete(ctx context.Context, id ID) error
	// List returns all.
	List(ctx context.Context) ([]*Mapping, error)
}

// Checkpoints stores how far shards are done with. Sources whose broker does that have none.
type Checkpoints interface {
	// Load returns those of all shards of a mapping.
	Load(ctx context.Context, id ID) (map[string]Checkpoint, error)
	// Save stores one whose last revision was c.Revision, 0 for a new one. ErrStale: somebody else has stored one since,
	// who therefore reads the shard now.
	Save(ctx context.Context, id ID, shard string, c Checkpoint) (revision uint64, err error)
	// Drop removes those of some shards, or with none named of all.
	Drop(ctx context.Context, id ID, shards ...string) error
}

// Checkpoint is how far a shard is done with.
type Checkpoint struct {
	Start    Start           // where the next read begins; After, once a record is done with
	Ended    bool            // all of it is done with
	Window   json.RawMessage `json:",omitempty"` // of a tumbling window that is open: the owner's own text
	Revision uint64          `json:"-"`
}

// Leases says which server reads a shard. A lease ends when its server gives it up or is not heard of for a few seconds.
type Leases interface {
	// Take takes the lease of a shard for this server. ErrHeld: another one has it.
	Take(ctx context.Context, id ID, shard string) (Lease, error)
}

// Lease is held until Release, or until Lost.
type Lease interface {
	// Lost is closed when the lease may have been given to another server.
	Lost() <-chan struct{}
	Release(ctx context.Context)
}

var (
	// ErrStale is the fact that what is to be replaced is no more what is stored.
	ErrStale = errors.New("stored otherwise meanwhile")
	// ErrHeld is the fact that another server has the lease.
	ErrHeld = errors.New("held by another server")
)

// Secrets finds what SourceAccessConfigurations name.
type Secrets interface {
	// Secret returns the text of a secret: JSON, as the service stores it. *ProblemError.
	Secret(ctx context.Context, uri string) ([]byte, error)
}

// Endpoints says where sources are whose ARN does not say it: brokers of MSK and MQ, clusters of DocumentDB.
type Endpoints interface {
	// Endpoint is a URL such as amqps://host:5671, amqp+ssl://host:5671, mongodb://host:27017, kafka://host:9092,host:9092.
	Endpoint(arn string) (url string, ok bool)
}

// Locate says where a source is, or refuses with the setting to type; example is such an address.
func Locate(e Endpoints, arn, example string) (url string, err error) {
	if url, known := e.Endpoint(arn); known {
		return url, nil
	}
	return "", &ProblemError{
		Code: "ESM_CONFIG_NOT_VALID",
		Text: "Nothing says where " + arn + " is. Start the server with --sources " + arn + "=" + example + ".",
	}
}

// maxEvent is the most that an event may take. Source: section 1.3.
const maxEvent = 6 << 20

// Delays are the waits between attempts on one batch: First, then twice as much each time, up to Limit.
type Delays struct{ First, Limit time.Duration }

// AWSDelays are near what was recorded: eight attempts in a minute. Source: section 4.3.
func AWSDelays() Delays { return Delays{First: 500 * time.Millisecond, Limit: 16 * time.Second} }

// After is the wait after so many failures in a row.
func (d Delays) After(failures int) time.Duration {
	w := d.First
	for range failures - 1 {
		if w *= 2; w >= d.Limit {
			return d.Limit
		}
	}
	return min(w, d.Limit)
}
