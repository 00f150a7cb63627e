package schemaregistry

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/google/uuid"
)

// Glue is the registry of AWS Glue, or what stands for it: a byte of version, one of compression and the 16 bytes of a
// schema version's id in front of the data.
type Glue struct{ client *glue.Client }

// NewGlue gives the registry of an account and region.
func NewGlue(cfg aws.Config) *Glue { return &Glue{glue.NewFromConfig(cfg)} }

// Schema asks the registry for a version of a schema.
func (g *Glue) Schema(ctx context.Context, id string) (Schema, error) {
	found, err := g.client.GetSchemaVersion(ctx, &glue.GetSchemaVersionInput{SchemaVersionId: aws.String(id)})
	var none *types.EntityNotFoundException
	if errors.As(err, &none) {
		return Schema{}, fmt.Errorf("%w: %s", ErrNotFound, aws.ToString(none.Message))
	}
	if err != nil {
		return Schema{}, err
	}
	return Schema{Language: Language(found.DataFormat), Text: aws.ToString(found.SchemaDefinition)}, nil
}

// What Glue's serialisers write in front of the data.
const (
	glueVersion = 3
	glueHeader  = 18
	gluePlain   = 0
	glueZlib    = 5
	// maxInflated bounds compressed data: no event may be larger.
	maxInflated = 6 << 20
)

func (g *Glue) unframe(data []byte) (string, []byte, error) {
	if len(data) < glueHeader || data[0] != glueVersion {
		return "", nil, errors.New("the data do not begin with the header of AWS Glue's schema registry")
	}
	id, rest := uuid.UUID(data[2:glueHeader]), data[glueHeader:]
	switch data[1] {
	case gluePlain:
		return id.String(), rest, nil
	case glueZlib:
		rest, err := inflate(rest)
		return id.String(), rest, err
	}
	return "", nil, fmt.Errorf("the compression %d is not known", data[1])
}

func inflate(data []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxInflated+1))
	if err == nil && len(plain) > maxInflated {
		err = fmt.Errorf("compressed data of more than %d bytes", maxInflated)
	}
	return plain, err
}

// message reads the number of the message, which counts all messages of the file in the order of their full names.
func (g *Glue) message(f file, data []byte) (message, []byte, error) {
	n, size := binary.Uvarint(data)
	if size <= 0 {
		return nil, nil, errors.New("the data do not say which message they are of")
	}
	all := messages(f.Messages())
	slices.SortFunc(all, func(a, b message) int { return cmp.Compare(a.FullName(), b.FullName()) })
	if n >= uint64(len(all)) {
		return nil, nil, fmt.Errorf("the schema has no message %d", n)
	}
	return all[n], data[size:], nil
}
