package openapi

import (
	"encoding/json"
	"strings"

	"thaw/gateway"
)

// back is x-amazon-apigateway-integration, of both kinds of APIs.
type back struct {
	Ref            string                     `json:"$ref,omitempty"`
	Type           string                     `json:"type,omitempty"`
	Subtype        string                     `json:"integrationSubtype,omitempty"`
	Method         string                     `json:"httpMethod,omitempty"`
	URI            string                     `json:"uri,omitempty"`
	Description    string                     `json:"description,omitempty"`
	Connection     string                     `json:"connectionType,omitempty"`
	ConnectionID   string                     `json:"connectionId,omitempty"`
	Credentials    string                     `json:"credentials,omitempty"`
	Passthrough    string                     `json:"passthroughBehavior,omitempty"`
	Content        string                     `json:"contentHandling,omitempty"`
	Timeout        int                        `json:"timeoutInMillis,omitempty"`
	PayloadVersion string                     `json:"payloadFormatVersion,omitempty"`
	Templates      map[string]string          `json:"requestTemplates,omitempty"`
	Parameters     map[string]string          `json:"requestParameters,omitempty"`
	Responses      map[string]backAnswer      `json:"responses,omitempty"`
	Reshape        map[string]json.RawMessage `json:"responseParameters,omitempty"` // of HTTP APIs
	TLS            *tls                       `json:"tlsConfig,omitempty"`
	Namespace      string                     `json:"cacheNamespace,omitempty"`
	CacheKeys      []string                   `json:"cacheKeyParameters,omitempty"`
	Transfer       string                     `json:"responseTransferMode,omitempty"`
}

type tls struct {
	ServerName string `json:"serverNameToVerify,omitempty"`
	Insecure   bool   `json:"insecureSkipVerification,omitempty"`
}

type backAnswer struct {
	Status     string            `json:"statusCode"`
	Parameters map[string]string `json:"responseParameters,omitempty"`
	Templates  map[string]string `json:"responseTemplates,omitempty"`
	Content    string            `json:"contentHandling,omitempty"`
}

// UnmarshalJSON takes a status as a number, too.
func (a *backAnswer) UnmarshalJSON(b []byte) error {
	type same backAnswer
	var in struct {
		same
		Status json.RawMessage `json:"statusCode"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*a = backAnswer(in.same)
	a.Status = strings.Trim(string(in.Status), `"`)
	return nil
}

// usual is what of a REST API's answers is the default.
const usual = "default"

// apply sets an integration to what the extension says.
func (b *back) apply(kind gateway.Kind, i *gateway.Integration) {
	i.Type, i.Subtype, i.URI, i.Description = strings.ToUpper(b.Type), b.Subtype, b.URI, b.Description
	i.Method = strings.ToUpper(strings.Replace(b.Method, extension+"any-method", "ANY", 1))
	i.Connection, i.ConnectionID, i.Credentials = strings.ToUpper(b.Connection), b.ConnectionID, b.Credentials
	i.Passthrough, i.Content, i.Timeout = strings.ToUpper(b.Passthrough), strings.ToUpper(b.Content), b.Timeout
	i.PayloadVersion, i.Templates, i.Parameters = b.PayloadVersion, b.Templates, b.Parameters
	i.CacheNamespace, i.CacheKeys, i.Streams, i.Responses = b.Namespace, b.CacheKeys, strings.EqualFold(b.Transfer, "STREAM"), nil
	if i.Connection == "" {
		i.Connection = "INTERNET"
	}
	if b.TLS != nil {
		i.TLSServerName, i.InsecureTLS = b.TLS.ServerName, b.TLS.Insecure
	}
	if kind == gateway.HTTP {
		b.applyHTTP(i)
		return
	}
	if i.Timeout == 0 {
		i.Timeout = 29000
	}
	if i.Passthrough == "" {
		i.Passthrough = "WHEN_NO_MATCH"
	}
	if i.Type == "AWS" || i.Type == "AWS_PROXY" {
		i.Method = "POST" // whatever was said: functions know no other
	}
	for pattern, a := range b.Responses {
		if pattern == usual {
			pattern = ""
		}
		put(&i.Responses, a.Status, &gateway.Reshaping{Status: a.Status, Pattern: pattern, Parameters: a.Parameters,
			Templates: a.Templates, Content: strings.ToUpper(a.Content)})
	}
}

func (b *back) applyHTTP(i *gateway.Integration) {
	if i.Timeout == 0 {
		i.Timeout = 30000
	}
	if i.PayloadVersion == "" {
		i.PayloadVersion = "1.0"
	}
	if i.Type == "AWS_PROXY" {
		i.Method = "POST"
	} else if i.Method == "" {
		i.Method = "ANY"
	}
	for status, raw := range b.Reshape {
		var parameters map[string]string
		if json.Unmarshal(raw, &parameters) == nil && len(parameters) > 0 {
			put(&i.Responses, status, &gateway.Reshaping{Status: status, Parameters: parameters})
		}
	}
}

// backOf is the extension that says what an integration is; REST APIs have it in small letters.
func backOf(kind gateway.Kind, i *gateway.Integration) back {
	b := back{Type: i.Type, Subtype: i.Subtype, Method: i.Method, URI: i.URI, Description: i.Description,
		Connection: i.Connection, ConnectionID: i.ConnectionID,
		Credentials: i.Credentials, Passthrough: i.Passthrough, Content: i.Content, Timeout: i.Timeout, PayloadVersion: i.PayloadVersion, Templates: i.Templates,
		Parameters: i.Parameters, Namespace: i.CacheNamespace, CacheKeys: i.CacheKeys}
	if i.TLSServerName != "" || i.InsecureTLS {
		b.TLS = &tls{i.TLSServerName, i.InsecureTLS}
	}
	if kind == gateway.HTTP {
		for status, r := range i.Responses {
			raw, _ := json.Marshal(r.Parameters) //nolint:errcheck // a map of texts always can
			put(&b.Reshape, status, json.RawMessage(raw))
		}
		return b
	}
	b.Type, b.Passthrough, b.Connection = strings.ToLower(b.Type), strings.ToLower(b.Passthrough), ""
	if i.Streams {
		b.Transfer = "STREAM"
	}
	for status, r := range i.Responses {
		pattern := r.Pattern
		if pattern == "" {
			pattern = usual
		}
		if r.Status != "" {
			status = r.Status
		}
		put(&b.Responses, pattern, backAnswer{status, r.Parameters, r.Templates, r.Content})
	}
	return b
}

// put sets a member of a map that may be nil.
func put[T any](m *map[string]T, key string, v T) {
	if *m == nil {
		*m = map[string]T{}
	}
	(*m)[key] = v
}
