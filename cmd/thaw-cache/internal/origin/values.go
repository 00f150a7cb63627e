package origin

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"thaw/cmd/thaw-cache/internal/cache"
)

// metadata is empty in what AWS's extension answers: that is Go's form of the operation's output.
type metadata struct{}

// seconds is a time as JSON 1.1 has it, and as the extension says it.
type seconds time.Time

func (s *seconds) UnmarshalJSON(b []byte) error {
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	whole, part := math.Modf(n)
	*s = seconds(time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC())
	return nil
}

func (s *seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Time(*s)) }

// reshape reads an answer in the form of T and writes it in Go's.
func reshape[T any](b []byte) ([]byte, error) {
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

type parameter struct {
	Parameter struct {
		ARN              *string
		DataType         *string
		LastModifiedDate *seconds
		Name             *string
		Selector         *string
		SourceResult     *string
		Type             string
		Value            *string
		Version          int64
	}
	ResultMetadata metadata
}

// Parameter fetches a parameter by the query of AWS's extension: name, and version or label, and withDecryption.
func Parameter(s *Service, q url.Values, ttl time.Duration) (cache.Fetch, error) {
	name, version, label := q.Get("name"), q.Get("version"), q.Get("label")
	switch {
	case name == "":
		return nil, &Error{http.StatusBadRequest, "name is missing"}
	case version != "" && label != "":
		return nil, &Error{http.StatusBadRequest, "version and label exclude each other"}
	case version != "":
		name += ":" + version
	case label != "":
		name += ":" + label
	}
	input := map[string]any{"Name": name}
	if text := q.Get("withDecryption"); text != "" {
		decrypt, err := strconv.ParseBool(text)
		if err != nil {
			return nil, &Error{http.StatusBadRequest, "withDecryption is neither true nor false"}
		}
		input["WithDecryption"] = decrypt
	}
	return s.Get("GetParameter", input, ttl, reshape[parameter]), nil
}

type secret struct {
	ARN            *string
	CreatedDate    *seconds
	Name           *string
	SecretBinary   []byte
	SecretString   *string
	VersionId      *string //nolint:staticcheck // as the service spells it
	VersionStages  []string
	ResultMetadata metadata
}

// Secret fetches a secret by the query of AWS's extension: secretId, and versionId or versionStage.
func Secret(s *Service, q url.Values, ttl time.Duration) (cache.Fetch, error) {
	if q.Get("secretId") == "" {
		return nil, &Error{http.StatusBadRequest, "secretId is missing"}
	}
	input := map[string]string{"SecretId": q.Get("secretId")}
	for key, name := range map[string]string{"versionId": "VersionId", "versionStage": "VersionStage"} {
		if v := q.Get(key); v != "" {
			input[name] = v
		}
	}
	return s.Get("GetSecretValue", input, ttl, reshape[secret]), nil
}
