package gatewayapi

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"thaw/gateway"
	"thaw/push"
)

// httpDomain is a DomainName of apigatewayv2.
type httpDomain struct {
	Selection string            `json:"apiMappingSelectionExpression,omitempty"`
	Name      string            `json:"domainName"`
	ARN       string            `json:"domainNameArn,omitempty"`
	Configs   []map[string]any  `json:"domainNameConfigurations,omitempty"`
	MutualTLS map[string]any    `json:"mutualTlsAuthentication,omitempty"`
	Routing   string            `json:"routingMode,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
}

const domainKey = "domain/"

// domainOf is a domain's record: the same one whichever of the two services made it.
func (c *call) domainOf() (*gateway.Domain, error) {
	s := c.apis().Shared.Get(domainKey + c.domainName())
	if s == nil || s.Domain == nil {
		return nil, c.noDomain()
	}
	return s.Domain, nil
}

func (c *call) domainName() string {
	return strings.ToLower(or(c.vars["domainName"], c.vars["domain_name"]))
}

func (c *call) noDomain() *Error {
	if c.version2() {
		return errNoDomain
	}
	return notFound("Invalid domain name identifier specified")
}

func (c *call) domainARN(name string) string {
	return "arn:aws:apigateway:" + c.region + "::/domainnames/" + name
}

func (c *call) viewDomain(d *gateway.Domain) httpDomain {
	v := httpDomain{Selection: "$request.basepath", Name: d.Name, ARN: c.domainARN(d.Name), Tags: d.Tags, Routing: or(d.Rest["routingMode"], "API_MAPPING_ONLY")}
	kept(d.Rest["configurations"], &v.Configs)
	kept(d.Rest["mutualTls"], &v.MutualTLS)
	if len(v.Configs) == 0 {
		v.Configs = []map[string]any{{"endpointType": "REGIONAL", "securityPolicy": "TLS_1_2"}}
	}
	for _, one := range v.Configs {
		one["apiGatewayDomainName"], one["domainNameStatus"], one["hostedZoneId"] = d.Name, "AVAILABLE", "Z1THAW"
		if one["certificateArn"] != nil {
			one["certificateUploadDate"] = d.Created.Format(time.RFC3339)
		}
	}
	return v
}

// kept reads what a record keeps of settings that this server shows and does not follow.
func kept(text string, into any) {
	json.Unmarshal([]byte(text), into) //nolint:errcheck // it was written by keep; empty: nothing was
}

func keep(v any) string {
	b, _ := json.Marshal(v) //nolint:errcheck // it came as JSON
	return string(b)
}

var domainRE = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (v *httpDomain) apply(d *gateway.Domain) error {
	if v.Routing != "" && v.Routing != "API_MAPPING_ONLY" {
		return badRequest("Routing rules are not there: the routing mode is API_MAPPING_ONLY")
	}
	d.Rest = map[string]string{}
	if len(v.Configs) > 0 {
		d.Rest["configurations"] = keep(v.Configs)
	}
	if len(v.MutualTLS) > 0 {
		return badRequest("Mutual TLS is not there: put a proxy that asks for certificates in front of this server")
	}
	return nil
}

func (c *call) createDomain() (any, error) {
	v := httpDomain{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	d := &gateway.Domain{Created: c.now(), Tags: v.Tags, Mappings: map[string]gateway.Mapping{}}
	if err := v.apply(d); err != nil {
		return nil, err
	}
	if err := c.addDomain(d, v.Name); err != nil {
		return nil, err
	}
	return c.viewDomain(d), nil
}

// addDomain stores a new one.
func (c *call) addDomain(d *gateway.Domain, name string) error {
	d.Name = strings.ToLower(name)
	if !domainRE.MatchString(d.Name) || len(d.Name) > 253 {
		return badRequest("Invalid domain name: %q", name)
	}
	return c.apis().Shared.Change(c.ctx(), domainKey+d.Name, func(old *gateway.Account) (*gateway.Account, error) {
		if old != nil {
			return nil, conflict("The domain name you provided already exists.")
		}
		return &gateway.Account{Domain: d}, nil
	})
}

func (c *call) getDomain() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	return c.viewDomain(d), nil
}

func (c *call) domains() map[string]*gateway.Domain {
	all := map[string]*gateway.Domain{}
	for _, s := range c.apis().Shared.All() {
		if s.Domain != nil {
			all[s.Domain.Name] = s.Domain
		}
	}
	return all
}

func (c *call) getDomains() (any, error) { return listed(c, c.domains(), c.viewDomain) }

// changeDomain gives a copy to f, and stores it.
func (c *call) changeDomain(f func(d *gateway.Domain) error) (*gateway.Domain, error) {
	d := new(gateway.Domain)
	err := c.apis().Shared.Change(c.ctx(), domainKey+c.domainName(), func(old *gateway.Account) (*gateway.Account, error) {
		if old == nil || old.Domain == nil {
			return nil, c.noDomain()
		}
		kept(keep(old.Domain), d)
		if d.Mappings == nil {
			d.Mappings = map[string]gateway.Mapping{}
		}
		return &gateway.Account{Domain: d}, f(d)
	})
	return d, err
}

func (c *call) updateDomain() (any, error) {
	d, err := c.changeDomain(func(d *gateway.Domain) error {
		v := c.viewDomain(d)
		if err := c.read(&v); err != nil {
			return err
		}
		return v.apply(d)
	})
	if err != nil {
		return nil, err
	}
	return c.viewDomain(d), nil
}

func (c *call) deleteDomain() (any, error) {
	err := c.apis().Shared.Delete(c.ctx(), domainKey+c.domainName())
	if errors.Is(err, push.ErrNone) {
		return nil, c.noDomain()
	}
	return nil, err
}

// apiMapping is an ApiMapping of apigatewayv2.
type apiMapping struct {
	API   string `json:"apiId"`
	ID    string `json:"apiMappingId"`
	Key   string `json:"apiMappingKey"`
	Stage string `json:"stage"`
}

func viewMapping(m gateway.Mapping) apiMapping { return apiMapping{m.API, m.ID, m.Path, m.Stage} }

var mappingRE = regexp.MustCompile(`^[A-Za-z0-9$_.+!*'()-]+(/[A-Za-z0-9$_.+!*'()-]+)*$`)

// setMapping puts one into a domain. An empty stage of a REST API takes the first part of the path for it.
func (c *call) setMapping(d *gateway.Domain, m gateway.Mapping) error {
	a := c.apis().APIs.Get(m.API)
	switch {
	case !c.ours(a) && c.version2():
		return notFound("Invalid API identifier specified")
	case !c.ours(a):
		return badRequest("Invalid REST API identifier specified")
	case a.Stages[m.Stage] == nil && (m.Stage != "" || a.Kind != gateway.REST):
		return badRequest("Invalid stage identifier specified")
	case m.Path != "" && !mappingRE.MatchString(m.Path):
		return badRequest("API mapping key %q has characters that are not allowed in a path", m.Path)
	}
	for _, other := range d.Mappings {
		if other.ID != m.ID && other.Path == m.Path {
			return conflict("ApiMapping key already exists for this domain name")
		}
	}
	d.Mappings[m.ID] = m
	return nil
}

func (c *call) createMapping() (any, error) {
	v := apiMapping{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	v.ID = newID(6)
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		return c.setMapping(d, gateway.Mapping{ID: v.ID, Path: v.Key, API: v.API, Stage: v.Stage})
	})
	return v, err
}

func (c *call) getMapping() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	m, is := d.Mappings[c.vars["apiMappingId"]]
	if !is {
		return nil, errNoMapping
	}
	return viewMapping(m), nil
}

func (c *call) getMappings() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	return listed(c, d.Mappings, viewMapping)
}

func (c *call) updateMapping() (any, error) {
	v := apiMapping{}
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		m, is := d.Mappings[c.vars["apiMappingId"]]
		if !is {
			return errNoMapping
		}
		v = viewMapping(m)
		if err := c.read(&v); err != nil {
			return err
		}
		v.ID = m.ID
		return c.setMapping(d, gateway.Mapping{ID: v.ID, Path: v.Key, API: v.API, Stage: v.Stage})
	})
	return v, err
}

func (c *call) deleteMapping() (any, error) {
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		if _, is := d.Mappings[c.vars["apiMappingId"]]; !is {
			return errNoMapping
		}
		delete(d.Mappings, c.vars["apiMappingId"])
		return nil
	})
	return nil, err
}
