package door

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWebPagesAreRefused(t *testing.T) {
	const own = "127.0.0.1:9600"
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Add(kv[i], kv[i+1])
		}
		return h
	}
	for _, c := range []struct {
		name, host string
		header     http.Header
		served     bool
	}{
		{"an AWS client", own, header("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-1/lambda/aws4_request"), true},
		{"curl", "localhost:9600", nil, true},
		{"a client by another address of the loopback", "127.3.2.1:9600", nil, true},
		{"a client by IPv6", "[::1]:9600", nil, true},
		{"a client by a mapped address", "[::ffff:127.0.0.1]:9600", nil, true},
		{"a client by IPv6 without a port", "[::1]", nil, true},
		{"a tunnel from another port", "localhost:1234", nil, true},
		{"a port 80", "localhost", nil, true},
		{"a name below localhost", "abc.lambda-url.eu-west-1.localhost:9600", nil, true},
		{"capitals and a closing dot", "LocalHost.:9600", nil, true},
		{"a name of the setting", "thaw.test:9600", nil, true},
		{"a name below one of the setting", "a.b.dev.test:9600", nil, true},
		{"our own page", own, header("Origin", "http://"+own, "Sec-Fetch-Site", "same-origin"), true},
		{"our own page of an old browser", own, header("Origin", "http://"+own), true},
		{"our own page under a name of the setting", "thaw.test", header("Origin", "https://THAW.test", "Sec-Fetch-Site", "same-origin"), true},

		{"a page that rebinds its name", "rebind.evil.example:9600", header("Origin", "http://rebind.evil.example:9600", "Sec-Fetch-Site", "same-origin"), false},
		{"a page that rebinds its name, without a word of its own", "rebind.evil.example:9600", nil, false},
		{"a foreign page", own, header("Origin", "http://evil.example"), false},
		{"a foreign page with all headers", own, header("Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"), false},
		{"an image of a foreign page", own, header("Sec-Fetch-Site", "cross-site"), false},
		{"a page of another port of this host", own, header("Origin", "http://127.0.0.1:3000", "Sec-Fetch-Site", "same-site"), false},
		{"a page of another port of this host, of an old browser", own, header("Origin", "http://127.0.0.1:3000"), false},
		{"a page of another name of this host", own, header("Origin", "http://localhost:9600"), false},
		{"a page without an origin", own, header("Origin", "null"), false},
		{"an extension", own, header("Origin", "chrome-extension://abcdef"), false},
		{"a word that is none yet", own, header("Sec-Fetch-Site", "sideways"), false},
		{"a message of a topic", own, header("X-Amz-Sns-Message-Type", "Notification"), false},
		{"two origins", own, header("Origin", "http://"+own, "Origin", "http://evil.example"), false},
		{"two sites", own, header("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"), false},
		{"an address that every host has", "0.0.0.0:9600", nil, false},
		{"another address", "192.0.2.1:9600", nil, false},
		{"a name that only begins well", "localhost.evil.example", nil, false},
		{"a name that only ends alike", "evillocalhost", nil, false},
		{"a name that ends like one of the setting", "evildev.test", nil, false},
		{"an address with something before it", "evil@127.0.0.1:9600", nil, false},
		{"no name", "", nil, false},
		{"only a port", ":9600", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &Guard{Hosts: []string{"thaw.test", ".dev.test"}}
			for _, method := range []string{"GET", "POST", "PUT", "OPTIONS"} {
				r := httptest.NewRequest(method, "/2015-03-31/functions", nil)
				r.Host, r.Header = c.host, c.header
				err := g.Check(r)
				if (err == nil) != c.served || err != nil && !errors.As(err, new(*Refusal)) {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
}

// A typed address may lead to a page that redirects to here.
func TestTypedAddressesRead(t *testing.T) {
	for method, served := range map[string]bool{"GET": true, "HEAD": true, "POST": false, "PUT": false, "DELETE": false} {
		r := httptest.NewRequest(method, "/metrics", nil)
		r.Host, r.Header = "127.0.0.1:9600", http.Header{"Sec-Fetch-Site": {"none"}}
		if err := (&Guard{}).Check(r); (err == nil) != served {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9600", "[::1]", "localhost.", "a.localhost:1", "evil.example:9600", "[::1", "::1", "a:b:c"} {
		f.Add(s)
	}
	g := &Guard{}
	f.Fuzz(func(t *testing.T, host string) {
		if n := hostName(host); g.knows(host) && !g.knows(n) && n != "::1" && !contains(n, ':') {
			t.Errorf("%q is known, its name %q is not", host, n)
		}
	})
}

func contains(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}
