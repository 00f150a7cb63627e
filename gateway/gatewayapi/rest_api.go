package gatewayapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"thaw/gateway"
	"thaw/iam"
)

// epoch is a time as apigateway writes it: seconds.
type epoch time.Time

// MarshalJSON writes the seconds.
func (e epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(e).Unix(), 10), nil
}

// UnmarshalJSON takes nothing: no request says when something was made.
func (*epoch) UnmarshalJSON([]byte) error { return nil }

// restAPI is a RestApi.
type restAPI struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Created     epoch             `json:"createdDate"`
	Version     string            `json:"version,omitempty"`
	Warnings    []string          `json:"warnings,omitempty"`
	BinaryTypes []string          `json:"binaryMediaTypes,omitempty"`
	Compression *int              `json:"minimumCompressionSize,omitempty"`
	KeySource   string            `json:"apiKeySource"`
	Endpoint    endpoint          `json:"endpointConfiguration"`
	Policy      string            `json:"policy,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Disabled    bool              `json:"disableExecuteApiEndpoint"`
	Root        string            `json:"rootResourceId"`
}

type endpoint struct {
	Types         []string `json:"types,omitempty"`
	IPAddressType string   `json:"ipAddressType,omitempty"`
	VPCEndpoints  []string `json:"vpcEndpointIds,omitempty"`
}

// rootOf is the ID of the resource /.
func rootOf(d *gateway.Definition) string {
	for id, r := range d.Resources {
		if r.Parent == "" {
			return id
		}
	}
	return ""
}

// viewREST shows a policy as the service does: with the escapes of a JSON string, without its quotes.
func viewREST(a *gateway.API) restAPI {
	v := restAPI{ID: a.ID, Name: a.Name, Description: a.Description, Created: epoch(a.Created), Version: a.Version, Warnings: a.Warnings, BinaryTypes: a.Draft.BinaryTypes,
		Compression: a.MinCompression, KeySource: a.APIKeySource, Tags: a.Tags, Disabled: a.Disabled, Root: rootOf(&a.Draft),
		Endpoint: endpoint{Types: a.EndpointTypes, IPAddressType: a.IPAddressType}}
	if a.Policy != "" {
		v.Policy = strings.Trim(keep(a.Policy), `"`)
	}
	return v
}

func (v *restAPI) apply(a *gateway.API) error {
	switch {
	case v.Name == "" || len(v.Name) > 1024:
		return badRequest("API name is required, of at most 1024 characters")
	case v.Compression != nil && (*v.Compression < 0 || *v.Compression > 10<<20):
		return badRequest("Invalid minimum compression size, must be between 0 and 10485760")
	case !known(v.KeySource, "HEADER|AUTHORIZER"):
		return badRequest("Invalid API key source: it is HEADER or AUTHORIZER")
	case len(v.Endpoint.Types) != 1 || !known(v.Endpoint.Types[0], "EDGE|REGIONAL|PRIVATE"):
		return badRequest("Endpoint configuration has one type: EDGE or REGIONAL")
	case v.Endpoint.Types[0] == "PRIVATE" || len(v.Endpoint.VPCEndpoints) > 0:
		return badRequest("Private APIs are not there: this server is as private as the address it listens on; use REGIONAL, and a policy with aws:SourceIp")
	}
	if v.Policy != "" {
		v.Policy = strings.ReplaceAll(v.Policy, `"execute-api:/`, `"arn:aws:execute-api:`+a.Region+":"+a.Account+":"+a.ID+"/") // the short form means this API
		if _, err := iam.Parse([]byte(v.Policy), iam.Resource); err != nil {
			return badRequest("Invalid policy document. Please check the policy syntax and ensure that Principals are valid: %v", err)
		}
	}
	a.Name, a.Description, a.Version, a.Draft.BinaryTypes, a.MinCompression = v.Name, v.Description, v.Version, v.BinaryTypes, v.Compression
	a.APIKeySource, a.EndpointTypes, a.Policy, a.Disabled, a.IPAddressType = v.KeySource, v.Endpoint.Types, v.Policy, v.Disabled, or(v.Endpoint.IPAddressType, "ipv4")
	return nil
}

// newREST is an API with its root and the two models that every one begins with.
func (c *call) newREST() *gateway.API {
	a, root := c.newAPI(gateway.REST), newID(10)
	a.Draft.Resources = map[string]*gateway.Resource{root: {ID: root, Path: "/"}}
	a.Draft.Models = map[string]*gateway.Model{}
	for name, schema := range map[string]string{"Empty": `{"type":"object"}`, "Error": `{"type":"object","properties":{"message":{"type":"string"}}}`} {
		text := strings.Replace(schema, "{", `{"$schema":"http://json-schema.org/draft-04/schema#","title":"`+name+` Schema",`, 1)
		a.Draft.Models[name] = &gateway.Model{ID: newID(6), Name: name, ContentType: "application/json", Description: "This is a default " + strings.ToLower(name) + " schema model", Schema: text}
	}
	return a
}

func (c *call) createREST() (any, error) {
	v := restAPI{KeySource: "HEADER", Endpoint: endpoint{Types: []string{"EDGE"}}}
	var more struct {
		CloneFrom string `json:"cloneFrom"`
	}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	if err := c.read(&more); err != nil {
		return nil, err
	}
	a := c.newREST()
	if more.CloneFrom != "" {
		from := c.apis().APIs.Get(more.CloneFrom)
		if !c.ours(from) || from.Kind != gateway.REST {
			return nil, badRequest("Invalid API identifier specified in cloneFrom: %s", more.CloneFrom)
		}
		var err error
		if a.Draft, err = frozen(&from.Draft); err != nil {
			return nil, err
		}
	}
	if err := v.apply(a); err != nil {
		return nil, err
	}
	a.Tags = v.Tags
	if err := c.apis().APIs.Put(c.ctx(), a.ID, a); err != nil {
		return nil, err
	}
	return viewREST(a), nil
}

func (c *call) getREST() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return viewREST(a), nil
}

func (c *call) getRESTs() (any, error) {
	all := map[string]*gateway.API{}
	for _, a := range c.apis().APIs.All() {
		if c.ours(a) && a.Kind == gateway.REST {
			all[a.ID] = a
		}
	}
	return listed(c, all, viewREST)
}

func (c *call) updateREST() (any, error) {
	a, err := c.change(func(a *gateway.API) error {
		v := viewREST(a)
		v.Policy = a.Policy
		if err := c.patch(&v, "name|description|version|binaryMediaTypes|minimumCompressionSize|apiKeySource|endpointConfiguration|policy|disableExecuteApiEndpoint", nil); err != nil {
			return err
		}
		if unquoted := ""; v.Policy != a.Policy && json.Unmarshal([]byte(`"`+v.Policy+`"`), &unquoted) == nil {
			v.Policy = unquoted // as it is shown, so it may come
		}
		return v.apply(a)
	})
	if err != nil {
		return nil, err
	}
	return viewREST(a), nil
}

func (c *call) deleteREST() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	if name := c.mappedBy(a.ID, ""); name != "" {
		return nil, badRequest("Cannot delete API '%s' while base path mappings of the domain name %s are for it", a.ID, name)
	}
	return nil, c.forget(a)
}
