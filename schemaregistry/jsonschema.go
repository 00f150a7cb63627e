package schemaregistry

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"thaw/internal/finite"
)

var errNumber = errors.New("a number is too large, too small or too long to be compared with others")

type jsonDecoder struct{ *jsonschema.Schema }

// noFetching refuses everything that a schema imports and its registry did not give: a schema may not make the server
// open files or addresses.
type noFetching struct{}

func (noFetching) Load(url string) (any, error) {
	return nil, fmt.Errorf("the registry gave no schema %s", url)
}

func newJSONSchema(s Schema) (decoder, error) {
	const self = "thaw:schema"
	c := jsonschema.NewCompiler()
	c.UseLoader(noFetching{})
	for _, r := range append(s.References, Reference{self, s.Text}) {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(r.Text)))
		if err == nil && !finite.Numbers(v) {
			err = errNumber
		}
		if err == nil {
			err = c.AddResource(r.Name, v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	compiled, err := c.Compile(self)
	if err != nil {
		return nil, err
	}
	return jsonDecoder{compiled}, nil
}

func (d jsonDecoder) decode(data []byte) (source, asJSON []byte, err error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, nil, err
	}
	if !finite.Numbers(v) { // the library would panic
		return nil, nil, fmt.Errorf("does not fit: %w", errNumber)
	}
	if err := d.Validate(v); err != nil {
		var invalid *jsonschema.ValidationError
		if errors.As(err, &invalid) {
			return nil, nil, fmt.Errorf("does not fit: %w", invalid)
		}
		return nil, nil, err
	}
	return data, data, nil
}
