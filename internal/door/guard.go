package door

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard decides who may send requests that nobody has signed. It is for listeners on the loopback.
//
// A web page can make the browser of whoever looks at it send requests there: forms, images and scripts go to any
// address, and JSON can be sent as text/plain without that anybody is asked. A page whose name is made to lead to
// 127.0.0.1 (DNS rebinding) reads the answers, too. Browsers tell of both: by Origin and Sec-Fetch-Site, which a page
// cannot change, and by Host, which is the page's own name then. Programs send neither header, and in Host what they
// were told to call.
//
// Sources: Fetch standard, "Origin header"; W3C Fetch Metadata; Go's net/http.CrossOriginProtection, which lets reading
// methods pass: those of a function run code, too, and nothing here is there for the pages of others.
type Guard struct {
	// Hosts are names beside localhost and the addresses of the loopback that a request may be for. One that begins
	// with a dot stands for all names that end so.
	Hosts []string
	// SameUser wants the sender to be a process of the server's user, of root, or of the user that called sudo.
	SameUser bool
}

// Refusal is why a request is not served.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, v ...any) error { return &Refusal{fmt.Sprintf(format, v...)} }

// Check returns nil or a *Refusal. Nothing of the body has been read.
func (g *Guard) Check(r *http.Request) error {
	if err := g.CheckHost(r); err != nil {
		return err
	}
	if err := sameOrigin(r); err != nil {
		return err
	}
	// A server of ours sends messages of topics wherever somebody has subscribed, which may be here: the process is the
	// user's, the words are not.
	if kind := r.Header.Get("X-Amz-Sns-Message-Type"); kind != "" {
		return refuse("A topic sent this request (x-amz-sns-message-type: %s). Topics send to functions, to function URLs, and to what thaw trigger add sns makes.", kind)
	}
	if g.SameUser {
		return sameUser(r)
	}
	return nil
}

// CheckHost is the part of Check that web pages fail which had their own name lead here. It is for what is open to pages
// otherwise.
func (g *Guard) CheckHost(r *http.Request) error {
	if !g.knows(r.Host) {
		return refuse("The request is for the host %q, which is no name of this server. Web pages that pretend to be a server do that. If it is a name of this host, start the server with --allowed-hosts.", r.Host)
	}
	return nil
}

// knows says whether a Host header names this host.
func (g *Guard) knows(host string) bool {
	name := hostName(host)
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap().IsLoopback() || slices.Contains(g.Hosts, name)
	}
	// Browsers ask no name server for localhost and what ends with it. Source: RFC 6761, 6.3.
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	return slices.ContainsFunc(g.Hosts, func(h string) bool {
		h = strings.ToLower(h)
		return h == name || strings.HasPrefix(h, ".") && strings.HasSuffix(name, h)
	})
}

// hostName is the host of HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT, in small letters and without a closing dot.
// Empty when it is none of these.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// sameOrigin refuses what a page sent that this listener did not serve. The port counts: another server on this host is
// another origin.
func sameOrigin(r *http.Request) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, site := range r.Header["Sec-Fetch-Site"] {
		// none: a person typed an address. It can be that of a page which redirects to here, so it is enough for
		// reading only: a door whose GET runs code must ask for more.
		if site != "same-origin" && (site != "none" || !reads) {
			return refuse("A web page of another origin sent this request (Sec-Fetch-Site: %s). Requests without a signature are taken from programs only.", site)
		}
	}
	for _, origin := range r.Header["Origin"] {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(u.Host, r.Host) {
			return refuse("A web page of another origin sent this request (Origin: %s). Requests without a signature are taken from programs only.", origin)
		}
	}
	return nil
}
