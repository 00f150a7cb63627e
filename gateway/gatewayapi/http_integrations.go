package gatewayapi

import (
	"maps"
	"strings"

	"thaw/gateway"
)

// httpIntegration is an Integration of apigatewayv2.
type httpIntegration struct {
	Managed           bool                         `json:"apiGatewayManaged,omitempty"`
	ConnectionID      string                       `json:"connectionId,omitempty"`
	Connection        string                       `json:"connectionType,omitempty"`
	Content           string                       `json:"contentHandlingStrategy,omitempty"`
	Credentials       string                       `json:"credentialsArn,omitempty"`
	Description       string                       `json:"description,omitempty"`
	ID                string                       `json:"integrationId"`
	Method            string                       `json:"integrationMethod,omitempty"`
	ResponseSelection string                       `json:"integrationResponseSelectionExpression,omitempty"`
	Subtype           string                       `json:"integrationSubtype,omitempty"`
	Type              string                       `json:"integrationType,omitempty"`
	URI               string                       `json:"integrationUri,omitempty"`
	Passthrough       string                       `json:"passthroughBehavior,omitempty"`
	PayloadVersion    string                       `json:"payloadFormatVersion,omitempty"`
	Parameters        map[string]string            `json:"requestParameters,omitempty"`
	Templates         map[string]string            `json:"requestTemplates,omitempty"`
	Responses         map[string]map[string]string `json:"responseParameters,omitempty"`
	TemplateChoice    string                       `json:"templateSelectionExpression,omitempty"`
	Timeout           int                          `json:"timeoutInMillis,omitempty"` // ms
	TLS               *tlsConfig                   `json:"tlsConfig,omitempty"`
}

type tlsConfig struct {
	ServerName string `json:"serverNameToVerify"`
}

// Milliseconds that a backend has. Source: the service's model; of WebSocket APIs it is a second less.
const (
	leastTimeout = 50
	mostTimeout  = 30000
	mostSocket   = 29000
)

func (c *call) viewIntegration(a *gateway.API) func(i *gateway.Integration) httpIntegration {
	return func(i *gateway.Integration) httpIntegration {
		v := httpIntegration{Managed: i.Managed, ConnectionID: i.ConnectionID, Connection: i.Connection, Content: i.Content, Credentials: i.Credentials,
			Description: i.Description, ID: i.ID, Method: i.Method, Subtype: i.Subtype, Type: i.Type, URI: i.URI, Passthrough: i.Passthrough,
			PayloadVersion: i.PayloadVersion, Parameters: i.Parameters, Templates: i.Templates, TemplateChoice: i.TemplateChoice, Timeout: i.Timeout}
		if i.TLSServerName != "" {
			v.TLS = &tlsConfig{i.TLSServerName}
		}
		if a.Kind == gateway.WebSocket {
			if i.Type != "AWS_PROXY" && i.Type != "HTTP_PROXY" {
				v.ResponseSelection = "${integration.response.statuscode}"
			}
			return v
		}
		for status, r := range i.Responses {
			put(&v.Responses, status, r.Parameters)
		}
		return v
	}
}

func (v *httpIntegration) apply(a *gateway.API, i *gateway.Integration) error {
	most := mostTimeout
	if a.Kind == gateway.WebSocket {
		most = mostSocket
		v.Passthrough = or(v.Passthrough, "WHEN_NO_MATCH")
	}
	if v.Timeout == 0 {
		v.Timeout = most
	}
	maps.DeleteFunc(v.Parameters, func(_, value string) bool { return value == "" }) // that is how one is removed
	i.ConnectionID, i.Connection, i.Content, i.Credentials = v.ConnectionID, or(v.Connection, "INTERNET"), v.Content, v.Credentials
	i.Description, i.Method, i.Subtype, i.Type, i.URI, i.Passthrough = v.Description, v.Method, v.Subtype, v.Type, v.URI, v.Passthrough
	i.PayloadVersion, i.Parameters, i.Templates, i.TemplateChoice, i.Timeout = or(v.PayloadVersion, "1.0"), v.Parameters, v.Templates, v.TemplateChoice, v.Timeout
	if i.TLSServerName = ""; v.TLS != nil {
		i.TLSServerName = v.TLS.ServerName
	}
	if a.Kind == gateway.HTTP {
		i.Responses = nil
		for status, parameters := range v.Responses {
			if len(parameters) > 0 {
				put(&i.Responses, status, &gateway.Reshaping{Status: status, Parameters: parameters})
			}
		}
	}
	if i.Type == "AWS_PROXY" && i.Subtype == "" {
		i.Method = or(i.Method, "POST")
	}
	if i.Timeout > most {
		return badRequest("Timeout should be between %d ms and %d ms", leastTimeout, most)
	}
	return validIntegration(a, i)
}

// validIntegration says what is wrong with an integration.
func validIntegration(a *gateway.API, i *gateway.Integration) error {
	kinds := "AWS|AWS_PROXY|HTTP|HTTP_PROXY|MOCK"
	if a.Kind == gateway.HTTP {
		kinds = "AWS_PROXY|HTTP_PROXY"
	}
	switch {
	case !known(i.Type, kinds):
		return badRequest("Invalid integration type specified: %s APIs have [%s]", a.Kind, strings.ReplaceAll(kinds, "|", ", "))
	case !known(i.PayloadVersion, "1.0|2.0"):
		return badRequest("Invalid payload format version %s: it is 1.0 or 2.0", i.PayloadVersion)
	case i.PayloadVersion == "2.0" && (a.Kind != gateway.HTTP || i.Type != "AWS_PROXY"):
		return badRequest("Payload format version 2.0 is of AWS_PROXY integrations of HTTP APIs alone")
	case i.Timeout < leastTimeout:
		return badRequest("Timeout should be between %d ms and %d ms", leastTimeout, mostTimeout)
	case i.Connection == "VPC_LINK":
		return badRequest("%s", noLinks)
	case i.Connection != "INTERNET":
		return badRequest("Invalid connection type specified: %s is neither INTERNET nor VPC_LINK", i.Connection)
	case i.Subtype != "":
		return badRequest("Integrations with an integrationSubtype (%s) call services of AWS, which this server does not; call them in a function", i.Subtype)
	case i.Type == "MOCK":
		return nil
	case i.URI == "":
		return badRequest("Integration URI is required for the integration type %s", i.Type)
	case strings.HasPrefix(i.Type, "AWS"):
		return validFunctionURI(i.URI)
	case !strings.HasPrefix(i.URI, "http://") && !strings.HasPrefix(i.URI, "https://"):
		return badRequest("Invalid HTTP endpoint specified for URI")
	case a.Kind == gateway.HTTP && !known(i.Method, "ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"):
		return badRequest("Invalid HTTP method specified: %q", i.Method)
	}
	return nil
}

const noLinks = "VPC links are not there: this server reaches private networks by itself. Use the connection type INTERNET with the private URL"

// validFunctionURI judges the ARN of a function, alone or in an integration's path.
func validFunctionURI(uri string) error {
	if strings.Contains(uri, "${stageVariables.") {
		return nil
	}
	arn := uri
	if _, path, is := strings.Cut(uri, ":lambda:path/"); is {
		version, rest, _ := strings.Cut(path, "/functions/")
		name, end := strings.CutSuffix(rest, "/invocations")
		if stream, is := strings.CutSuffix(rest, "/response-streaming-invocations"); is {
			name, end = stream, true
		}
		if !end || version == "" {
			return badRequest("Invalid ARN specified in the request: %s does not end with /functions/ARN/invocations", uri)
		}
		arn = name
	}
	parts := strings.Split(arn, ":")
	if len(parts) < 7 || parts[0] != "arn" || parts[2] != "lambda" || parts[5] != "function" || parts[6] == "" {
		return badRequest("Invalid ARN specified in the request: %s is not the ARN of a function", arn)
	}
	return nil
}

func (c *call) createIntegration() (any, error) {
	i := &gateway.Integration{ID: newID(7)}
	a, err := c.change(func(a *gateway.API) error {
		v := httpIntegration{}
		if err := c.read(&v); err != nil {
			return err
		}
		if err := v.apply(a, i); err != nil {
			return err
		}
		if len(a.Draft.Integrations) >= mostRoutes {
			return tooMany("integrations", mostRoutes)
		}
		put(&a.Draft.Integrations, i.ID, i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.viewIntegration(a)(i), nil
}

func (c *call) integration(a *gateway.API) (*gateway.Integration, error) {
	if i := a.Draft.Integrations[c.vars["integrationId"]]; i != nil {
		return i, nil
	}
	return nil, noSuch("Integration", c.vars["integrationId"])
}

func (c *call) getIntegration() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	i, err := c.integration(a)
	if err != nil {
		return nil, err
	}
	return c.viewIntegration(a)(i), nil
}

func (c *call) getIntegrations() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Integrations, c.viewIntegration(a))
}

func (c *call) updateIntegration() (any, error) {
	var made *gateway.Integration
	a, err := c.change(func(a *gateway.API) error {
		i, err := c.integration(a)
		if err != nil {
			return err
		}
		v := c.viewIntegration(a)(i)
		if err := c.over(&v, &v.Templates, &v.TLS); err != nil {
			return err
		}
		made = i
		return v.apply(a, i)
	})
	if err != nil {
		return nil, err
	}
	return c.viewIntegration(a)(made), nil
}

func (c *call) deleteIntegration() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		i, err := c.integration(a)
		if err != nil {
			return err
		}
		for _, r := range a.Draft.Routes {
			if r.Integration == i.ID {
				return conflict("Cannot delete Integration '%s' which is used by route '%s'", i.ID, r.Key)
			}
		}
		delete(a.Draft.Integrations, i.ID)
		return nil
	})
	return nil, err
}
