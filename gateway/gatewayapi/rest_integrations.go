package gatewayapi

import (
	"regexp"
	"strings"

	"thaw/gateway"
)

// restIntegration is an Integration of a method.
type restIntegration struct {
	Type         string                             `json:"type"`
	Method       string                             `json:"httpMethod,omitempty"`
	URI          string                             `json:"uri,omitempty"`
	Connection   string                             `json:"connectionType,omitempty"`
	ConnectionID string                             `json:"connectionId,omitempty"`
	Credentials  string                             `json:"credentials,omitempty"`
	Parameters   map[string]string                  `json:"requestParameters,omitempty"`
	Templates    map[string]string                  `json:"requestTemplates,omitempty"`
	Passthrough  string                             `json:"passthroughBehavior,omitempty"`
	Content      string                             `json:"contentHandling,omitempty"`
	Timeout      int                                `json:"timeoutInMillis,omitempty"`
	Namespace    string                             `json:"cacheNamespace,omitempty"`
	CacheKeys    []string                           `json:"cacheKeyParameters"`
	Responses    map[string]restIntegrationResponse `json:"integrationResponses,omitempty"`
	TLS          *restTLS                           `json:"tlsConfig,omitempty"`
	Transfer     string                             `json:"responseTransferMode,omitempty"`
}

type restTLS struct {
	Insecure bool `json:"insecureSkipVerification"`
}

type restIntegrationResponse struct {
	Status     string            `json:"statusCode"`
	Pattern    string            `json:"selectionPattern,omitempty"`
	Parameters map[string]string `json:"responseParameters,omitempty"`
	Templates  map[string]string `json:"responseTemplates,omitempty"`
	Content    string            `json:"contentHandling,omitempty"`
}

func viewRESTIntegration(i *gateway.Integration) restIntegration {
	v := restIntegration{Type: i.Type, Method: i.Method, URI: i.URI, Connection: i.Connection, ConnectionID: i.ConnectionID, Credentials: i.Credentials,
		Parameters: i.Parameters, Templates: i.Templates, Passthrough: i.Passthrough, Content: i.Content, Timeout: i.Timeout, Namespace: i.CacheNamespace,
		CacheKeys: i.CacheKeys, Transfer: "BUFFERED"}
	if i.Streams {
		v.Transfer = "STREAM"
	}
	if v.CacheKeys == nil {
		v.CacheKeys = []string{}
	}
	if i.InsecureTLS {
		v.TLS = &restTLS{true}
	}
	for status, r := range i.Responses {
		put(&v.Responses, status, viewReshaping(status, r))
	}
	return v
}

func viewReshaping(status string, r *gateway.Reshaping) restIntegrationResponse {
	return restIntegrationResponse{status, r.Pattern, r.Parameters, r.Templates, r.Content}
}

const mostREST = 300_000 // ms, where it was raised; 29 s is usual

func (v *restIntegration) apply(a *gateway.API, i *gateway.Integration) error {
	if v.Timeout == 0 {
		v.Timeout = mostSocket
	}
	v.Passthrough, v.Connection, v.Transfer = or(v.Passthrough, "WHEN_NO_MATCH"), or(v.Connection, "INTERNET"), or(v.Transfer, "BUFFERED")
	i.Type, i.Method, i.URI, i.Connection, i.ConnectionID, i.Credentials = v.Type, v.Method, v.URI, v.Connection, v.ConnectionID, v.Credentials
	i.Parameters, i.Templates, i.Passthrough, i.Content, i.Timeout = v.Parameters, v.Templates, v.Passthrough, v.Content, v.Timeout
	i.CacheNamespace, i.CacheKeys, i.InsecureTLS, i.Streams = v.Namespace, v.CacheKeys, v.TLS != nil && v.TLS.Insecure, v.Transfer == "STREAM"
	return validRESTIntegration(i)
}

// validRESTIntegration says what is wrong with one. Source: API Reference, PutIntegration, and texts of the service.
func validRESTIntegration(i *gateway.Integration) error {
	switch {
	case !known(i.Type, "AWS|AWS_PROXY|HTTP|HTTP_PROXY|MOCK"):
		return badRequest("Enumeration value for integration type must be one of [HTTP, AWS, MOCK, HTTP_PROXY, AWS_PROXY]")
	case !known(i.Passthrough, "WHEN_NO_MATCH|WHEN_NO_TEMPLATES|NEVER"):
		return badRequest("Invalid passthrough behavior: it is WHEN_NO_MATCH, WHEN_NO_TEMPLATES or NEVER")
	case i.Content != "" && !known(i.Content, "CONVERT_TO_BINARY|CONVERT_TO_TEXT"):
		return badRequest("Invalid content handling: it is CONVERT_TO_BINARY or CONVERT_TO_TEXT")
	case i.Timeout < leastTimeout || i.Timeout > mostREST:
		return badRequest("Timeout should be between %d ms and %d ms", leastTimeout, mostREST)
	case i.Connection == "VPC_LINK":
		return badRequest("%s", noLinks)
	case i.Streams && i.Type != "AWS_PROXY" && i.Type != "HTTP_PROXY":
		return badRequest("The response transfer mode STREAM is of AWS_PROXY and HTTP_PROXY integrations alone")
	case i.Type == "MOCK":
		return nil
	case !known(i.Method, "ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"):
		return badRequest("Integration HTTP method is required for the integration type %s", i.Type)
	case strings.HasPrefix(i.Type, "AWS"):
		return validServiceURI(i)
	case !strings.HasPrefix(i.URI, "http://") && !strings.HasPrefix(i.URI, "https://") && !strings.HasPrefix(i.URI, "${stageVariables."):
		return badRequest("Invalid HTTP endpoint specified for URI")
	}
	return nil
}

var serviceRE = regexp.MustCompile(`^arn:[a-z-]+:apigateway:[a-z0-9-]*:([a-z0-9.-]+):(path|action)/`)

func validServiceURI(i *gateway.Integration) error {
	m := serviceRE.FindStringSubmatch(i.URI)
	switch {
	case !strings.HasPrefix(i.URI, "arn:"):
		return badRequest("Invalid ARN specified in the request")
	case m == nil:
		return badRequest("AWS ARN for integration must contain path or action")
	case m[1] != "lambda":
		return badRequest("Integrations with the service %s are not there: this server calls functions and URLs; call the service in a function", m[1])
	case i.Method != "POST":
		return badRequest("Functions are invoked with POST: integrationHttpMethod is %s", i.Method)
	}
	return validFunctionURI(i.URI)
}

func (c *call) putIntegration() (any, error) {
	v := restIntegration{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	i := &gateway.Integration{ID: c.methodID()}
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.method(&a.Draft)
		if err != nil {
			return err
		}
		v.Namespace = or(v.Namespace, r.Resource)
		if old := a.Draft.Integrations[r.ID]; old != nil {
			i.Responses = old.Responses
		}
		r.Integration = i.ID
		put(&a.Draft.Integrations, i.ID, i)
		return v.apply(a, i)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTIntegration(i), nil
}

// restIntegration is the one of the method that the path names.
func (c *call) restIntegration(d *gateway.Definition) (*gateway.Integration, error) {
	r, err := c.method(d)
	if err != nil {
		return nil, err
	}
	if i := d.Integrations[r.ID]; i != nil {
		return i, nil
	}
	return nil, notFound("No integration defined for method")
}

func (c *call) getRESTIntegration() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	i, err := c.restIntegration(&a.Draft)
	if err != nil {
		return nil, err
	}
	return viewRESTIntegration(i), nil
}

func (c *call) updateRESTIntegration() (any, error) {
	var made *gateway.Integration
	_, err := c.change(func(a *gateway.API) error {
		i, err := c.restIntegration(&a.Draft)
		if err != nil {
			return err
		}
		v := viewRESTIntegration(i)
		if err := c.patch(&v, "type|httpMethod|uri|connectionType|connectionId|credentials|requestParameters|requestTemplates|passthroughBehavior|contentHandling|"+
			"timeoutInMillis|cacheNamespace|cacheKeyParameters|tlsConfig|responseTransferMode", nil); err != nil {
			return err
		}
		made = i
		return v.apply(a, i)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTIntegration(made), nil
}

func (c *call) deleteRESTIntegration() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		i, err := c.restIntegration(&a.Draft)
		if err == nil {
			delete(a.Draft.Integrations, i.ID)
		}
		return err
	})
	return nil, err
}

func (v *restIntegrationResponse) made() (*gateway.Reshaping, error) {
	if _, err := regexp.Compile(v.Pattern); err != nil {
		return nil, badRequest("Invalid selection pattern specified: %v", err)
	}
	for name := range v.Parameters {
		if !strings.HasPrefix(name, "method.response.header.") {
			return nil, badRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: %s]", name)
		}
	}
	return &gateway.Reshaping{Status: v.Status, Pattern: v.Pattern, Parameters: v.Parameters, Templates: v.Templates, Content: v.Content}, nil
}

func (c *call) putIntegrationResponse() (any, error) {
	v := restIntegrationResponse{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	v.Status = c.vars["status_code"]
	_, err := c.change(func(a *gateway.API) error {
		i, err := c.restIntegration(&a.Draft)
		if err != nil {
			return err
		}
		if !statusRE.MatchString(v.Status) {
			return badRequest("Invalid status code specified: %s", v.Status)
		}
		made, err := v.made()
		put(&i.Responses, v.Status, made)
		return err
	})
	return v, err
}

func (c *call) reshaping(d *gateway.Definition) (*gateway.Integration, *gateway.Reshaping, error) {
	i, err := c.restIntegration(d)
	if err != nil {
		return nil, nil, err
	}
	if r := i.Responses[c.vars["status_code"]]; r != nil {
		return i, r, nil
	}
	return nil, nil, notFound("Invalid Response status code specified")
}

func (c *call) getRESTIntegrationResponse() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	_, r, err := c.reshaping(&a.Draft)
	if err != nil {
		return nil, err
	}
	return viewReshaping(c.vars["status_code"], r), nil
}

func (c *call) updateRESTIntegrationResponse() (any, error) {
	v := restIntegrationResponse{}
	_, err := c.change(func(a *gateway.API) error {
		i, r, err := c.reshaping(&a.Draft)
		if err != nil {
			return err
		}
		v = viewReshaping(c.vars["status_code"], r)
		if err := c.patch(&v, "selectionPattern|responseParameters|responseTemplates|contentHandling", nil); err != nil {
			return err
		}
		made, err := v.made()
		i.Responses[v.Status] = made
		return err
	})
	return v, err
}

func (c *call) deleteRESTIntegrationResponse() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		i, _, err := c.reshaping(&a.Draft)
		if err == nil {
			delete(i.Responses, c.vars["status_code"])
		}
		return err
	})
	return nil, err
}
