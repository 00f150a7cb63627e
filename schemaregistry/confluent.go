package schemaregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/twmb/franz-go/pkg/sr"
)

// Confluent is a registry that speaks Confluent's protocol: a zero byte and four bytes of id in front of the data, and
// for Protobuf the place of the message behind them.
type Confluent struct{ client *sr.Client }

// NewConfluent gives the registry at an address. The options say who one is (sr.BasicAuth, sr.DialTLSConfig).
func NewConfluent(address string, options ...sr.ClientOpt) (*Confluent, error) {
	c, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(address), sr.UserAgent("thaw")}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	return &Confluent{c}, nil
}

// Bearer is the option of one who shows a token, which is asked for with each request.
func Bearer(token func(context.Context) (string, error)) sr.ClientOpt {
	return sr.PreReq(func(r *http.Request) error {
		t, err := token(r.Context())
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+t)
		}
		return err
	})
}

// Refuses says whether an error is that the registry does not let one in.
func Refuses(err error) bool {
	var e *sr.ResponseError
	var alert tls.AlertError
	var operation *net.OpError // of a certificate that is missing or wrong
	return errors.As(err, &e) && (e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden) ||
		errors.As(err, &alert) || errors.As(err, &operation) && operation.Op == "remote error"
}

// Schema asks the registry for a schema and all that it imports.
func (c *Confluent) Schema(ctx context.Context, id string) (Schema, error) {
	n, err := strconv.Atoi(id)
	if err != nil {
		return Schema{}, fmt.Errorf("%w: the id %q is not a number", ErrNotFound, id)
	}
	found, err := c.client.SchemaByID(ctx, n)
	if err != nil {
		return Schema{}, confluentError(err)
	}
	s := Schema{Language: languageOf(found.Type), Text: found.Schema}
	err = c.references(ctx, found.References, &s, map[string]bool{}, 0)
	return s, err
}

// maxReferences and maxImports bound what one record makes the server ask for.
const (
	maxReferences = 200
	maxImports    = 20 // one in the other
)

func (c *Confluent) references(ctx context.Context, refs []sr.SchemaReference, into *Schema, seen map[string]bool, depth int) error {
	for _, r := range refs {
		if seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		if depth >= maxImports || len(seen) > maxReferences {
			return fmt.Errorf("%w: it imports more than %d schemas, or %d one in the other", ErrNotFound, maxReferences, maxImports)
		}
		found, err := c.client.SchemaByVersion(ctx, r.Subject, r.Version)
		if err != nil {
			return confluentError(err)
		}
		if err := c.references(ctx, found.References, into, seen, depth+1); err != nil {
			return err
		}
		into.References = append(into.References, Reference{r.Name, found.Schema.Schema})
	}
	return nil
}

func confluentError(err error) error {
	var e *sr.ResponseError
	if errors.As(err, &e) && e.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %s", ErrNotFound, e.Message)
	}
	return err
}

func languageOf(t sr.SchemaType) Language {
	switch t {
	case sr.TypeProtobuf:
		return Protobuf
	case sr.TypeJSON:
		return JSON
	}
	return Avro
}

func (c *Confluent) unframe(data []byte) (string, []byte, error) {
	id, rest, err := new(sr.ConfluentHeader).DecodeID(data)
	if err != nil {
		return "", nil, errors.New("the data do not begin with a zero byte and the id of a schema")
	}
	return strconv.Itoa(id), rest, nil
}

func (c *Confluent) message(f file, data []byte) (message, []byte, error) {
	const deepest = 100 // messages in messages
	path, rest, err := new(sr.ConfluentHeader).DecodeIndex(data, deepest)
	if err != nil {
		return nil, nil, fmt.Errorf("which message the data are of: %w", err)
	}
	m, err := nested(f, path)
	return m, rest, err
}
