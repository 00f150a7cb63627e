// Package mongodb reads the change streams of Amazon DocumentDB and MongoDB. A mapping's stream is one shard, whose
// positions are resume tokens.
//
// Source: docs/spec/event-sources.md, section 9; MongoDB's manual, change streams.
package mongodb

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"

	"thaw/eventsource"
	"thaw/eventsource/secret"
)

// Driver is the eventsource.Driver of DocumentDB.
type Driver struct {
	secrets   eventsource.Secrets
	endpoints eventsource.Endpoints

	mu      sync.Mutex
	clients map[access]*shared
}

// access is how one is let into a cluster. Mappings that are let in the same way share a client, and so the connections
// by which it watches the cluster's members.
type access struct {
	uri string
	secret.Login
}

type shared struct {
	*mongo.Client
	users int
}

// New makes a driver that finds clusters by their ARN. An address is a URI of MongoDB, with all that such a URI may say
// (replicaSet, tls, tlsCAFile ...).
func New(secrets eventsource.Secrets, endpoints eventsource.Endpoints) *Driver {
	return &Driver{secrets: secrets, endpoints: endpoints, clients: map[access]*shared{}}
}

// Check implements eventsource.Driver: the service looks at nothing before a mapping is there.
func (d *Driver) Check(context.Context, *eventsource.Mapping, eventsource.Facts) error { return nil }

// reach is how long a cluster may take to answer the first question.
const reach = 5 * time.Second

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	a, err := d.access(ctx, m)
	if err != nil {
		return nil, err
	}
	client, err := d.take(a)
	if err != nil {
		return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The address of the cluster cannot be used. Look at --sources of the server.", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	if err := client.Ping(ctx, nil); err != nil {
		d.release(a)
		return nil, problem(err)
	}
	return &eventsource.Source{
		Stream: &stream{client: client.Client, m: m},
		Envelope: eventsource.Envelope{
			Head: `{"eventSourceArn":` + strconv.Quote(m.Source.ARN) + `,"events":`,
			Tail: `,"eventSource":"aws:docdb"}`,
		},
		Close: func(context.Context) error { return d.release(a) },
	}, nil
}

// access finds out where the cluster is and how one is let in.
func (d *Driver) access(ctx context.Context, m *eventsource.Mapping) (access, error) {
	uri, err := eventsource.Locate(d.endpoints, m.Source.ARN, "mongodb://HOST:PORT")
	if err != nil {
		return access{}, err
	}
	login, err := secret.LoginOf(ctx, d.secrets, m)
	return access{uri, login}, err
}

// take gives a client that is used by this mapping, too.
func (d *Driver) take(a access) (*shared, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[a]; c != nil {
		c.users++
		return c, nil
	}
	o := options.Client().ApplyURI(a.uri).SetAppName("thaw").SetServerSelectionTimeout(reach).
		SetMaxPoolSize(0) // each stream has a connection for itself
	if a.User != "" {
		credential := options.Credential{Username: a.User, Password: a.Password}
		if o.Auth != nil { // the URI may name a mechanism and where users are
			credential.AuthMechanism, credential.AuthSource = o.Auth.AuthMechanism, o.Auth.AuthSource
		}
		o.SetAuth(credential)
	}
	pool, err := a.Pool()
	if err != nil {
		return nil, err
	}
	if pool != nil {
		c := o.TLSConfig
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.RootCAs = pool
		o.SetTLSConfig(c)
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, err
	}
	c := &shared{client, 1}
	d.clients[a] = c
	return c, nil
}

func (d *Driver) release(a access) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.clients[a]
	if c.users--; c.users > 0 {
		return nil
	}
	delete(d.clients, a)
	// Streams are closed already, so nothing is waited for.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Disconnect(ctx)
}

// Codes of MongoDB's errors that mean something here.
const (
	unauthorized         = 13
	authenticationFailed = 18
	historyLost          = 286
)

// problem says in words why a cluster cannot be read.
func problem(err error) error {
	var refused *auth.Error
	var c mongo.CommandError
	switch {
	case errors.As(err, &c) && c.Code == unauthorized:
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHZ_ERROR", Text: "The user of the secret may not watch the database.", Err: err}
	case errors.As(err, &refused), errors.As(err, &c) && c.Code == authenticationFailed:
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHN_ERROR", Text: "The cluster refuses the user name or the password of the secret.", Err: err}
	case errors.As(err, &c) && (c.Code == historyLost || strings.Contains(c.Message, "no longer be in the oplog")):
		return &eventsource.ProblemError{
			Text: "The cluster no longer has the changes since the last one that was processed. " +
				"Delete the mapping and create it again, with the StartingPosition that you want.",
			Err: err,
		}
	case errors.As(err, &c):
		return &eventsource.ProblemError{Text: "The cluster answers: " + c.Message, Err: err}
	}
	return &eventsource.ProblemError{Text: "Connection error. The cluster cannot be reached.", Err: err}
}
