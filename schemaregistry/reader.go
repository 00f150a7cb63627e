package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Language is what a schema is written in, in the words of the metadata that functions get.
type Language string

// The languages.
const (
	Avro     Language = "AVRO"
	Protobuf Language = "PROTOBUF"
	JSON     Language = "JSON"
)

// Schema is a schema as the registry has it.
type Schema struct {
	Language Language
	Text     string
	// References are the schemas that this one imports, each after those that it imports itself.
	References []Reference
}

// Reference is a schema with the name by which another one imports it.
type Reference struct{ Name, Text string }

// Registry is where schemas come from.
type Registry interface {
	// Schema gives the schema with an id. The error is ErrNotFound if there is none; any other one may pass.
	Schema(ctx context.Context, id string) (Schema, error)
	// unframe takes the id off the data.
	unframe(data []byte) (id string, rest []byte, err error)
	// message finds the message of a Protobuf schema that the data are of, and takes what says so off them.
	message(f file, data []byte) (message, []byte, error)
}

// ErrNotFound is what a registry says of an id that it does not have.
var ErrNotFound = errors.New("schemaregistry: no such schema")

// Reason is why a record cannot be read, ever, in the words of a failure record's condition.
type Reason string

// The reasons.
const (
	SchemaNotFound       Reason = "SCHEMA_NOT_FOUND"
	DeserializationError Reason = "DESERIALIZATION_ERROR"
)

// UnreadableError says that the record itself cannot be read. Other errors are the registry's, and may pass.
type UnreadableError struct {
	Reason Reason
	Err    error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("schemaregistry: %s: %v", e.Reason, e.Err)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Metadata says which schema data were written with, as functions are told.
type Metadata struct {
	DataFormat Language `json:"dataFormat"`
	SchemaID   string   `json:"schemaId"`
}

// maxSchemas bounds what a reader remembers: ids come with records, so anybody who may write records makes them up.
const maxSchemas = 1000

// Reader reads the records of one registry. Any number of goroutines may use it.
type Reader struct {
	registry Registry
	asJSON   bool

	mu      sync.Mutex
	schemas map[string]*schema
}

// schema is one that was met. Its goroutine that met it first asks the registry, the others wait.
type schema struct {
	once sync.Mutex
	decoder
	language Language
}

// decoder holds data against a schema.
type decoder interface {
	// decode gives the data without what else stands in front of them, and as JSON.
	decode(data []byte) (source, asJSON []byte, err error)
}

// NewReader gives a reader of a registry's records. It gives their data as JSON, or else as they were written, without
// the registry's framing.
func NewReader(registry Registry, asJSON bool) *Reader {
	return &Reader{registry: registry, asJSON: asJSON, schemas: map[string]*schema{}}
}

// Read holds a record's key or value against its schema. An UnreadableError is about the data, any other error about
// the registry.
func (r *Reader) Read(ctx context.Context, data []byte) ([]byte, Metadata, error) {
	id, rest, err := r.registry.unframe(data)
	if err != nil {
		return nil, Metadata{}, &UnreadableError{DeserializationError, err}
	}
	s, err := r.schema(ctx, id)
	if err != nil {
		return nil, Metadata{}, err
	}
	source, asJSON, err := s.decode(rest)
	if err != nil {
		return nil, Metadata{}, &UnreadableError{DeserializationError, fmt.Errorf("schema %s: %w", id, err)}
	}
	m := Metadata{DataFormat: s.language, SchemaID: id}
	if r.asJSON {
		return asJSON, m, nil
	}
	return source, m, nil
}

func (r *Reader) schema(ctx context.Context, id string) (*schema, error) {
	r.mu.Lock()
	s := r.schemas[id]
	if s == nil {
		if len(r.schemas) >= maxSchemas {
			clear(r.schemas)
		}
		s = &schema{}
		r.schemas[id] = s
	}
	r.mu.Unlock()

	s.once.Lock()
	defer s.once.Unlock()
	if s.decoder != nil {
		return s, nil
	}
	found, err := r.registry.Schema(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, &UnreadableError{SchemaNotFound, fmt.Errorf("schema %s: %w", id, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", id, err)
	}
	d, err := r.decoder(found)
	if err != nil {
		return nil, &UnreadableError{DeserializationError, fmt.Errorf("schema %s: %w", id, err)}
	}
	s.decoder, s.language = d, found.Language
	return s, nil
}

func (r *Reader) decoder(s Schema) (decoder, error) {
	switch s.Language {
	case Avro:
		return newAvro(s)
	case Protobuf:
		return newProtobuf(s, r.registry)
	case JSON:
		return newJSONSchema(s)
	}
	return nil, fmt.Errorf("the language %q is not known", s.Language)
}
