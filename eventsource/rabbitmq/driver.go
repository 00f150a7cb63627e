// Package rabbitmq receives the messages of a queue of RabbitMQ: of Amazon MQ, or of any other broker, by AMQP 0-9-1.
//
// Source: docs/spec/event-sources.md, section 8; RabbitMQ's AMQP 0-9-1 reference.
package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource"
	"thaw/eventsource/secret"
)

// Driver is the eventsource.Driver of RabbitMQ.
type Driver struct {
	secrets   eventsource.Secrets
	endpoints eventsource.Endpoints
}

// New makes a driver that finds brokers by their ARN: amqps://HOST:PORT, or amqp:// without TLS.
func New(secrets eventsource.Secrets, endpoints eventsource.Endpoints) *Driver {
	return &Driver{secrets, endpoints}
}

// Check implements eventsource.Driver: the service looks at nothing before a mapping is there.
func (d *Driver) Check(context.Context, *eventsource.Mapping, eventsource.Facts) error { return nil }

const (
	reach     = 10 * time.Second // how long a broker may take to let one in
	heartbeat = 10 * time.Second
	// prefetch is the least that a consumer has the broker send ahead. Source: section 8.
	prefetch = 100
)

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	address, err := eventsource.Locate(d.endpoints, m.Source.ARN, "amqps://HOST:PORT")
	if err != nil {
		return nil, err
	}
	login, err := secret.LoginOf(ctx, d.secrets, m)
	if err != nil {
		return nil, err
	}
	vhost := m.Secret("VIRTUAL_HOST")
	if vhost == "" {
		vhost = "/"
	}
	conn, err := dial(ctx, address, vhost, login)
	if err != nil {
		return nil, problem(err)
	}
	q, err := consume(conn, m, vhost)
	if err != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		return nil, problem(err)
	}
	return &eventsource.Source{
		Queue: q,
		Envelope: eventsource.Envelope{
			Head:   `{"eventSource":"aws:rmq","eventSourceArn":` + strconv.Quote(m.Source.ARN) + `,"rmqMessagesByQueue":`,
			Tail:   `}`,
			Groups: true,
		},
		Close: func(ctx context.Context) error { return q.close(ctx) },
	}, nil
}

func dial(ctx context.Context, address, vhost string, login secret.Login) (*amqp.Connection, error) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "amqp" && at.Scheme != "amqps" {
		return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The address of the broker is not amqps://HOST:PORT or amqp://HOST:PORT."}
	}
	pool, err := login.Pool()
	if err != nil {
		return nil, err
	}
	c := amqp.Config{
		Vhost:           vhost,
		Heartbeat:       heartbeat,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: at.Hostname()},
		Properties:      amqp.Table{"product": "thaw", "connection_name": "thaw event source mapping"},
		Dial: func(network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: reach}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return c, c.SetDeadline(time.Now().Add(reach)) // of the handshake: the library takes it away
		},
	}
	if login.User != "" {
		c.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: login.User, Password: login.Password}}
	}
	return amqp.DialConfig(address, c)
}

// problem says in words why a queue cannot be read.
func problem(err error) error {
	var known *eventsource.ProblemError
	if errors.As(err, &known) {
		return err
	}
	var e *amqp.Error
	if !errors.As(err, &e) {
		return &eventsource.ProblemError{Text: "Connection error. The broker cannot be reached.", Err: err}
	}
	switch {
	case e.Code == amqp.AccessRefused && (e == amqp.ErrCredentials || e == amqp.ErrSASL):
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHN_ERROR", Text: "The broker refuses the user name or the password of the secret.", Err: err}
	case e == amqp.ErrVhost, e.Code == amqp.NotAllowed:
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHZ_ERROR", Text: "The virtual host does not exist, or the user may not enter it.", Err: err}
	case e.Code == amqp.AccessRefused:
		return &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHZ_ERROR", Text: "The user may not read the queue: " + e.Reason, Err: err}
	case e.Code == amqp.NotFound:
		return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The queue does not exist: " + e.Reason, Err: err}
	}
	return &eventsource.ProblemError{Text: "The broker answers: " + e.Reason, Err: err}
}
