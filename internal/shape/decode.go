package shape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Decode reads the body of a request of the JSON protocol. An empty one means {}; unknown members are ignored. wrong is
// what a SerializationException says; empty: it could be read.
func Decode[T any](body []byte) (in T, wrong string) {
	if len(bytes.TrimSpace(body)) == 0 {
		return in, ""
	}
	err := json.Unmarshal(body, &in)
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &typ):
		wrong = fmt.Sprintf("%s_VALUE cannot be converted to %s", strings.ToUpper(typ.Value), typ.Type.Kind())
	default:
		wrong = fmt.Sprintf("Could not parse request body into json: %v", err)
	}
	return in, wrong
}
