package gatewayapi

import (
	"encoding/json"
	"strings"

	"thaw/gateway"
)

// restDomain is a DomainName of apigateway.
type restDomain struct {
	Name            string            `json:"domainName"`
	ARN             string            `json:"domainNameArn,omitempty"`
	CertificateName string            `json:"certificateName,omitempty"`
	Certificate     string            `json:"certificateArn,omitempty"`
	RegionalName    string            `json:"regionalDomainName,omitempty"`
	RegionalZone    string            `json:"regionalHostedZoneId,omitempty"`
	RegionalCert    string            `json:"regionalCertificateArn,omitempty"`
	EdgeName        string            `json:"distributionDomainName,omitempty"`
	EdgeZone        string            `json:"distributionHostedZoneId,omitempty"`
	Endpoint        endpoint          `json:"endpointConfiguration"`
	Status          string            `json:"domainNameStatus"`
	Security        string            `json:"securityPolicy,omitempty"`
	Tags            map[string]string `json:"tags,omitempty"`
}

// viewRESTDomain shows a domain to apigateway. What is its own of settings is under rest, whichever service made it.
func (c *call) viewRESTDomain(d *gateway.Domain) restDomain {
	v := restDomain{Endpoint: endpoint{Types: []string{"REGIONAL"}, IPAddressType: "ipv4"}, Security: "TLS_1_2"}
	kept(d.Rest["rest"], &v)
	v.Name, v.ARN, v.Status, v.Tags = d.Name, c.domainARN(d.Name), "AVAILABLE", d.Tags
	v.RegionalName, v.RegionalZone, v.EdgeName, v.EdgeZone = d.Name, "Z1THAW", "", ""
	if v.Endpoint.Types[0] == "EDGE" {
		v.EdgeName, v.EdgeZone, v.RegionalName, v.RegionalZone = d.Name, "Z2THAW", "", ""
	}
	return v
}

func (v *restDomain) apply(d *gateway.Domain) error {
	if len(v.Endpoint.Types) != 1 || !known(v.Endpoint.Types[0], "EDGE|REGIONAL") {
		return badRequest("Endpoint configuration has one type: EDGE or REGIONAL")
	}
	put(&d.Rest, "rest", keep(v))
	return nil
}

func (c *call) createRESTDomain() (any, error) {
	v := restDomain{Endpoint: endpoint{Types: []string{"EDGE"}}, Security: "TLS_1_2"}
	var more struct {
		MutualTLS  json.RawMessage `json:"mutualTlsAuthentication"`
		PrivateKey string          `json:"certificatePrivateKey"`
	}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	if err := c.read(&more); err != nil {
		return nil, err
	}
	if len(more.MutualTLS) > 0 || more.PrivateKey != "" {
		return nil, badRequest("Certificates are not taken here: start the server with --tls-cert and --tls-key, or put a proxy in front of it")
	}
	d := &gateway.Domain{Created: c.now(), Tags: v.Tags, Mappings: map[string]gateway.Mapping{}}
	if err := v.apply(d); err != nil {
		return nil, err
	}
	if err := c.addDomain(d, v.Name); err != nil {
		return nil, err
	}
	return c.viewRESTDomain(d), nil
}

func (c *call) getRESTDomain() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	return c.viewRESTDomain(d), nil
}

func (c *call) getRESTDomains() (any, error) { return listed(c, c.domains(), c.viewRESTDomain) }

func (c *call) updateRESTDomain() (any, error) {
	d, err := c.changeDomain(func(d *gateway.Domain) error {
		v := c.viewRESTDomain(d)
		if err := c.patch(&v, "certificateName|certificateArn|regionalCertificateArn|endpointConfiguration|securityPolicy", nil); err != nil {
			return err
		}
		return v.apply(d)
	})
	if err != nil {
		return nil, err
	}
	return c.viewRESTDomain(d), nil
}

// basePath is a BasePathMapping. The empty path is (none) in it.
type basePath struct {
	Path  string `json:"basePath"`
	API   string `json:"restApiId"`
	Stage string `json:"stage,omitempty"`
}

const noPath = "(none)"

func viewBasePath(m gateway.Mapping) basePath { return basePath{or(m.Path, noPath), m.API, m.Stage} }

func (v *basePath) made(id string) gateway.Mapping {
	path := v.Path
	if path == noPath {
		path = ""
	}
	return gateway.Mapping{ID: id, Path: path, API: v.API, Stage: v.Stage}
}

func (c *call) createBasePath() (any, error) {
	v := basePath{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	m := v.made(newID(6))
	if strings.Contains(m.Path, "/") {
		return nil, badRequest("API Gateway V1 doesn't support the slash character (/) in base path mappings. To create a multi-level base path mapping, use API Gateway V2.")
	}
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		for _, other := range d.Mappings {
			if other.Path == m.Path {
				return conflict("Base path already exists for this domain name")
			}
		}
		return c.setMapping(d, m)
	})
	return viewBasePath(m), err
}

func (c *call) basePathOf(d *gateway.Domain) (gateway.Mapping, error) {
	for _, m := range d.Mappings {
		if or(m.Path, noPath) == c.vars["base_path"] {
			return m, nil
		}
	}
	return gateway.Mapping{}, notFound("Invalid base path mapping identifier specified")
}

func (c *call) getBasePath() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	m, err := c.basePathOf(d)
	if err != nil {
		return nil, err
	}
	return viewBasePath(m), nil
}

func (c *call) getBasePaths() (any, error) {
	d, err := c.domainOf()
	if err != nil {
		return nil, err
	}
	return listed(c, d.Mappings, viewBasePath)
}

func (c *call) updateBasePath() (any, error) {
	v := basePath{}
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		m, err := c.basePathOf(d)
		if err != nil {
			return err
		}
		v = viewBasePath(m)
		if err := c.patch(&v, "basePath|stage|restApiId", func(o *patchOperation, path []string) (bool, error) {
			if path[0] != "restapiId" { // as the service spells it here
				return false, nil
			}
			v.API = o.value()
			return true, nil
		}); err != nil {
			return err
		}
		return c.setMapping(d, v.made(m.ID))
	})
	return v, err
}

func (c *call) deleteBasePath() (any, error) {
	_, err := c.changeDomain(func(d *gateway.Domain) error {
		m, err := c.basePathOf(d)
		if err == nil {
			delete(d.Mappings, m.ID)
		}
		return err
	})
	return nil, err
}
