package node

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"thaw/api"
	"thaw/internal/door"
)

var domainRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// urlNames are the names of function URLs; addr is the address that the server listens on.
func (c *Config) urlNames(addr string) (api.URLNames, error) {
	domain := strings.ToLower(c.URLDomain)
	n := api.URLNames{Domain: domain}
	if strings.Contains(domain, "://") {
		u, err := url.Parse(domain)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return n, fmt.Errorf("%q is neither DOMAIN nor https://DOMAIN", c.URLDomain)
		}
		n.Scheme, n.Domain, n.Port = u.Scheme, u.Hostname(), u.Port()
	} else {
		usual := "80"
		if c.secure() {
			n.Scheme, usual = "https", "443"
		}
		if _, port, err := net.SplitHostPort(addr); err == nil && port != usual {
			n.Port = port
		}
	}
	if !domainRE.MatchString(n.Domain) {
		return n, fmt.Errorf("%q is no name of a domain", c.URLDomain)
	}
	return n, nil
}

// urlDoor stands before function URLs on a server without credentials: api.URLDoor says what is asked, and why.
func (c *Config) urlDoor() api.URLDoor {
	hosts := c.hosts()
	if n, err := c.urlNames(""); err == nil {
		hosts = append(hosts, "."+n.Domain)
	}
	g := &door.Guard{Hosts: hosts, SameUser: c.Unsigned == "same-user"}
	return api.URLDoor{Host: g.CheckHost, Strangers: g.Check}
}
