package schemaregistry

import (
	"fmt"

	"github.com/twmb/avro"
)

// avroDecoder reads Avro's binary encoding. Its JSON has the values of unions bare, without the branch's name around
// them: standard JSON, as AWS calls it, not the encoding that Avro has for JSON.
type avroDecoder struct{ *avro.Schema }

func newAvro(s Schema) (decoder, error) {
	var known avro.SchemaCache
	for _, r := range s.References {
		if _, err := known.Parse(r.Text); err != nil {
			return nil, fmt.Errorf("imported schema %q: %w", r.Name, err)
		}
	}
	parsed, err := known.Parse(s.Text)
	if err != nil {
		return nil, err
	}
	return avroDecoder{parsed}, nil
}

func (d avroDecoder) decode(data []byte) (source, asJSON []byte, err error) {
	var v any
	rest, err := d.Decode(data, &v)
	if err != nil {
		return nil, nil, err
	}
	if len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes behind the value", len(rest))
	}
	asJSON, err = d.EncodeJSON(v)
	return data, asJSON, err
}
