// Package activemq receives the messages of a queue of ActiveMQ: of Amazon MQ, or of any other broker, by AMQP 1.0.
//
// Source: docs/spec/event-sources.md, section 7; AMQP 1.0; the mapping of JMS to AMQP that ActiveMQ has by default.
package activemq

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"thaw/eventsource"
	"thaw/eventsource/secret"
)

// Driver is the eventsource.Driver of ActiveMQ.
type Driver struct {
	secrets   eventsource.Secrets
	endpoints eventsource.Endpoints
}

// New makes a driver that finds brokers by their ARN: amqp+ssl://HOST:PORT, or activemq:// without TLS.
func New(secrets eventsource.Secrets, endpoints eventsource.Endpoints) *Driver {
	return &Driver{secrets, endpoints}
}

// Check implements eventsource.Driver: the service looks at nothing before a mapping is there.
func (d *Driver) Check(context.Context, *eventsource.Mapping, eventsource.Facts) error { return nil }

const (
	reach = 10 * time.Second // how long a broker may take to let one in, and to take a frame
	idle  = 20 * time.Second // how long a broker may be silent: it sends empty frames
	// prefetch is the least that a receiver has the broker send ahead. A batch would be enough for the service
	// (section 7.2), but small batches would then wait for the broker each time.
	prefetch = 100
)

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	address, err := eventsource.Locate(d.endpoints, m.Source.ARN, "amqp+ssl://HOST:5671")
	if err != nil {
		return nil, err
	}
	login, err := secret.LoginOf(ctx, d.secrets, m)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	conn, err := dial(ctx, address, login)
	if err != nil {
		return nil, problem(err)
	}
	q, err := attach(ctx, conn, m)
	if err != nil {
		_ = conn.Close()
		return nil, problem(err)
	}
	return &eventsource.Source{
		Queue: q,
		Envelope: eventsource.Envelope{
			Head: `{"eventSource":"aws:mq","eventSourceArn":` + strconv.Quote(m.Source.ARN) + `,"messages":`,
			Tail: `}`,
		},
		Close: q.close,
	}, nil
}

// schemes are those of addresses, and what the library calls them. amqp and amqps are of RabbitMQ when a mapping is
// made; here they are what the library means by them.
var schemes = map[string]string{"activemq": "amqp", "amqp": "amqp", "amqp+ssl": "amqps", "amqps": "amqps"}

func dial(ctx context.Context, address string, login secret.Login) (*amqp.Conn, error) {
	at, err := url.Parse(address)
	if err != nil || schemes[at.Scheme] == "" || at.Hostname() == "" {
		return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The address of the broker is not amqp+ssl://HOST:PORT or activemq://HOST:PORT."}
	}
	pool, err := login.Pool()
	if err != nil {
		return nil, err
	}
	o := &amqp.ConnOptions{
		IdleTimeout: idle, WriteTimeout: reach,
		TLSConfig:  &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: at.Hostname()},
		Properties: map[string]any{"product": "thaw"},
		SASLType:   amqp.SASLTypeAnonymous(),
	}
	if login.User != "" {
		o.SASLType = amqp.SASLTypePlain(login.User, login.Password)
	}
	return amqp.Dial(ctx, (&url.URL{Scheme: schemes[at.Scheme], Host: at.Host}).String(), o)
}

// problem says in words why a queue cannot be read.
func problem(err error) error {
	var known *eventsource.ProblemError
	if errors.As(err, &known) {
		return err
	}
	if strings.Contains(err.Error(), "SASL") && strings.Contains(err.Error(), "auth failed") { // the library has no type for it
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHN_ERROR", Text: "The broker refuses the user name or the password of the secret.", Err: err}
	}
	var e *amqp.Error
	if !errors.As(err, &e) {
		return &eventsource.ProblemError{Text: "Connection error. The broker cannot be reached.", Err: err}
	}
	switch e.Condition {
	case amqp.ErrCondUnauthorizedAccess:
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHZ_ERROR", Text: "The user may not read the queue: " + e.Description, Err: err}
	case amqp.ErrCondNotFound, amqp.ErrCondResourceDeleted:
		return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The queue does not exist: " + e.Description, Err: err}
	}
	return &eventsource.ProblemError{Text: "The broker answers: " + e.Description, Err: err}
}
