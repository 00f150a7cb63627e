package kafka

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"thaw/eventsource"
	"thaw/eventsource/secret"
	"thaw/schemaregistry"
)

// attribute is the key or the value of records: nil where no schema is asked for.
type attribute struct{ *schemaregistry.Reader }

// event is a record as the handler gets it. Source: section 6.1.
type event struct {
	Topic         string                   `json:"topic"`
	Partition     int32                    `json:"partition"`
	Offset        int64                    `json:"offset"`
	Timestamp     int64                    `json:"timestamp"`
	TimestampType string                   `json:"timestampType"`
	Key           []byte                   `json:"key,omitempty"`
	Value         []byte                   `json:"value,omitempty"`
	Headers       []map[string][]int8      `json:"headers"`
	KeySchema     *schemaregistry.Metadata `json:"keySchemaMetadata,omitempty"`
	ValueSchema   *schemaregistry.Metadata `json:"valueSchemaMetadata,omitempty"`
}

// meta is what filters see beside key and value.
type meta struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	Offset        int64  `json:"offset"`
	Timestamp     int64  `json:"timestamp"`
	TimestampType string `json:"timestampType"`
}

// record makes the record that the caller gets. Errors are of the schema registry, and pass.
func (s *shape) record(ctx context.Context, r *kgo.Record) (*eventsource.Record, error) {
	e := event{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), TimestampType: "CREATE_TIME",
		Key: r.Key, Value: r.Value, Headers: make([]map[string][]int8, 0, len(r.Headers)),
	}
	if r.Attrs.TimestampType() == 1 {
		e.TimestampType = "LOG_APPEND_TIME"
	}
	for _, h := range r.Headers {
		e.Headers = append(e.Headers, map[string][]int8{h.Key: eventsource.JavaBytes(h.Value)})
	}
	unreadable := ""
	var err error
	if e.Key, e.KeySchema, err = s.key.read(ctx, r.Key, &unreadable); err != nil {
		return nil, err
	}
	if e.Value, e.ValueSchema, err = s.value.read(ctx, r.Value, &unreadable); err != nil {
		return nil, err
	}
	group := r.Topic + "-" + strconv.Itoa(int(r.Partition))
	return &eventsource.Record{
		ID:         eventsource.KafkaID(r.Topic, r.Partition, r.Offset),
		Event:      marshal(e),
		Filtered:   func() eventsource.Filtered { return filtered(e) },
		Shard:      group,
		Position:   strconv.FormatInt(r.Offset, 10),
		Group:      group,
		Arrived:    r.Timestamp,
		Unreadable: unreadable,
		Handle:     r,
	}, nil
}

// read holds data against their schema. What can never be read is named in unreadable, and stays as it is.
func (a attribute) read(ctx context.Context, data []byte, unreadable *string) ([]byte, *schemaregistry.Metadata, error) {
	if a.Reader == nil || data == nil {
		return data, nil, nil
	}
	read, m, err := a.Read(ctx, data)
	var never *schemaregistry.UnreadableError
	if errors.As(err, &never) {
		*unreadable = string(never.Reason)
		return data, nil, nil
	}
	if err != nil {
		return nil, nil, registryProblem(err)
	}
	return read, &m, nil
}

// registryProblem says in words why a registry does not answer. One that refuses the credentials is opened anew, with what
// the secrets say then.
func registryProblem(err error) error {
	var known *eventsource.ProblemError
	if errors.As(err, &known) {
		return known
	}
	p := &eventsource.ProblemError{Text: "The schema registry cannot be asked.", Err: err}
	if schemaregistry.Refuses(err) {
		p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", "The schema registry refuses the credentials of the secret."
		return fmt.Errorf("%w: %w", eventsource.ErrBroken, p)
	}
	return p
}

func filtered(e event) eventsource.Filtered {
	f := eventsource.Filtered{Meta: marshal(meta{e.Topic, e.Partition, e.Offset, e.Timestamp, e.TimestampType})}
	if e.Key != nil {
		f.Data = append(f.Data, eventsource.Datum{Name: "key", Bytes: e.Key})
	}
	if e.Value != nil {
		f.Data = append(f.Data, eventsource.Datum{Name: "value", Bytes: e.Value})
	}
	return f
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}

// schemas makes the readers of the mapping's schema registry.
func (d *Driver) schemas(ctx context.Context, m *eventsource.Mapping, s *shape) error {
	of := m.Source.Schema
	if of == nil {
		return nil
	}
	registry, err := d.registry(ctx, of)
	if err != nil {
		return err
	}
	for _, a := range of.Attributes {
		r := attribute{schemaregistry.NewReader(registry, !of.Source)}
		switch a {
		case "KEY":
			s.key = r
		case "VALUE":
			s.value = r
		}
	}
	return nil
}

func (d *Driver) registry(ctx context.Context, of *eventsource.Schema) (schemaregistry.Registry, error) {
	if parts := strings.Split(of.URI, ":"); parts[0] == "arn" && len(parts) > 3 {
		cfg, err := d.load(ctx, parts[3])
		if err != nil {
			return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "AWS's configuration of the server cannot be read.", Err: err}
		}
		return schemaregistry.NewGlue(cfg), nil
	}
	var options []sr.ClientOpt
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, a := range of.Access {
		var err error
		switch a.Type {
		case "BASIC_AUTH":
			var l struct{ Username, Password string }
			err = secret.Read(ctx, d.secrets, a.URI, &l)
			options = append(options, sr.BasicAuth(l.Username, l.Password))
		case "OAUTHBEARER_AUTH":
			options = append(options, schemaregistry.Bearer(secret.OAuthTokens(d.secrets, secret.OAuth{URI: a.URI}).Token))
		case "CLIENT_CERTIFICATE_TLS_AUTH":
			err = d.certificate(ctx, a.URI, config)
		case "SERVER_ROOT_CA_CERTIFICATE":
			err = d.roots(ctx, a.URI, config)
		default:
			err = &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: a.Type + " is not something that one logs in to a schema registry with."}
		}
		if err != nil {
			return nil, err
		}
	}
	return schemaregistry.NewConfluent(of.URI, append(options, sr.DialTLSConfig(config))...)
}
