package api

import (
	"cmp"
	"context"
	"net"

	"thaw/controlplane"
	"thaw/function"
)

// URLNames say where function URLs are: at SCHEME://ID.lambda-url.REGION.DOMAIN:PORT/.
type URLNames struct {
	Scheme string // empty: http
	Domain string // empty: localhost, and what ends so leads to this host everywhere
	Port   string // empty: the scheme's
}

// urlLabel is the second label of every function URL's host.
const urlLabel = "lambda-url"

func (n URLNames) domain() string { return cmp.Or(n.Domain, "localhost") }

// host is that of one URL, without its port.
func (n URLNames) host(id, region string) string {
	return id + "." + urlLabel + "." + region + "." + n.domain()
}

// of is one URL, as the service writes them.
func (n URLNames) of(id, region string) string {
	host := n.host(id, region)
	if n.Port != "" {
		host = net.JoinHostPort(host, n.Port)
	}
	return cmp.Or(n.Scheme, "http") + "://" + host + "/"
}

// urlWriter makes or changes a URL.
type urlWriter func(context.Context, function.Key, function.Qualifier, controlplane.URLSettings) (function.URL, error)
