package runtimes

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// fetcher downloads pinned files from the registries that this host is configured to use, in the files and variables that npm, pip
// and Maven themselves read. Proxies and certificates are those of Go's standard client (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).
type fetcher struct {
	http  *http.Client
	npm   registry
	pypi  []registry // index first, then extra ones
	maven registry
}

// registry is a base URL without a trailing slash, with the credentials for it.
type registry struct {
	url           string
	authorization string // header value, or empty
}

// maxFile bounds a download: the largest, Node, has 60 MB.
const maxFile = 512 << 20

func newFetcher() *fetcher {
	home, _ := os.UserHomeDir()
	return &fetcher{
		http:  &http.Client{Timeout: 15 * time.Minute},
		npm:   npmRegistry(os.Getenv, home),
		pypi:  pypiIndexes(os.Getenv, home),
		maven: mavenRepository(os.Getenv, home),
	}
}

// into downloads one pinned file, checks its hash and unpacks or stores it below dir.
func (f *fetcher) into(ctx context.Context, p pin, dir string) error {
	body, err := f.download(ctx, p)
	if err != nil {
		return err
	}
	defer os.Remove(body.Name())
	defer body.Close()
	switch p.Registry {
	case "npm":
		return untar(body, dir)
	case "pypi":
		return unzip(body, dir)
	case "maven":
		if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
			return err
		}
		return copyFile(body, filepath.Join(dir, "lib", filepath.Base(p.File)), 0o644)
	}
	return fmt.Errorf("no registry %q", p.Registry)
}

// download returns a temporary file, at its begin, that has the pinned hash.
func (f *fetcher) download(ctx context.Context, p pin) (*os.File, error) {
	address, auth, err := f.locate(ctx, p)
	if err != nil {
		return nil, err
	}
	resp, err := f.get(ctx, address, auth, "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	tmp, err := os.CreateTemp("", "thaw-fetch-")
	if err != nil {
		return nil, err
	}
	want := newPinHash(p.Hash)
	n, err := io.Copy(io.MultiWriter(tmp, want.sum), io.LimitReader(resp.Body, maxFile+1))
	switch {
	case err != nil:
	case n > maxFile:
		err = fmt.Errorf("%s is larger than %d bytes", address, maxFile)
	case !want.matches():
		err = fmt.Errorf("%s has another hash than the pinned %s", address, p.Hash)
	default:
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		tmp.Close()
		os.Remove(tmp.Name())
		return nil, err
	}
	return tmp, nil
}

// locate asks the registry where the file is.
func (f *fetcher) locate(ctx context.Context, p pin) (address, auth string, err error) {
	switch p.Registry {
	case "npm":
		var meta struct {
			Versions map[string]struct {
				Dist struct{ Tarball string }
			}
		}
		// Source: npm registry API, package metadata; this media type is its short form.
		if err := f.getJSON(ctx, f.npm.url+"/"+p.Package, f.npm.authorization, "application/vnd.npm.install-v1+json", &meta); err != nil {
			return "", "", err
		}
		v, ok := meta.Versions[p.File]
		if !ok || v.Dist.Tarball == "" {
			return "", "", fmt.Errorf("registry %s has no version %s", f.npm.url, p.File)
		}
		return v.Dist.Tarball, f.npm.authFor(v.Dist.Tarball), nil
	case "pypi":
		var last error
		for _, index := range f.pypi {
			if address, last = f.findWheel(ctx, index, p); last == nil {
				return address, index.authFor(address), nil
			}
		}
		return "", "", last
	case "maven":
		return f.maven.url + "/" + p.File, f.maven.authorization, nil
	}
	return "", "", fmt.Errorf("no registry %q", p.Registry)
}

// anchor finds the links of a simple index page.
var anchor = regexp.MustCompile(`(?i)<a\s[^>]*href\s*=\s*["']([^"'#]+)`)

// findWheel looks for a wheel in a package index, in its JSON form or in its older HTML form.
// Source: Python Packaging User Guide, "Simple repository API".
func (f *fetcher) findWheel(ctx context.Context, index registry, p pin) (string, error) {
	page := index.url + "/" + p.Package + "/"
	resp, err := f.get(ctx, page, index.authorization, "application/vnd.pypi.simple.v1+json, text/html;q=0.5")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return "", err
	}
	base := resp.Request.URL
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		var list struct {
			Files []struct{ Filename, URL string }
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return "", fmt.Errorf("%s: %w", page, err)
		}
		for _, file := range list.Files {
			if file.Filename == p.File {
				return resolve(base, file.URL)
			}
		}
	} else {
		for _, m := range anchor.FindAllSubmatch(body, -1) {
			address, err := resolve(base, strings.ReplaceAll(string(m[1]), "&amp;", "&"))
			if err != nil {
				continue
			}
			if u, err := url.Parse(address); err == nil && strings.HasSuffix(u.Path, "/"+p.File) {
				return address, nil
			}
		}
	}
	return "", fmt.Errorf("index %s has no %s", index.url, p.File)
}

func resolve(base *url.URL, ref string) (string, error) {
	u, err := base.Parse(ref)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func (f *fetcher) getJSON(ctx context.Context, address, auth, accept string, v any) error {
	resp, err := f.get(ctx, address, auth, accept)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

// get asks once more when a registry is busy or a connection breaks: installations happen on bad networks too.
func (f *fetcher) get(ctx context.Context, address, auth, accept string) (*http.Response, error) {
	var last error
	for attempt := range 3 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Duration(attempt) * time.Second):
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		resp, err := f.http.Do(req)
		if err != nil {
			last = err
			continue
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		resp.Body.Close()
		last = fmt.Errorf("%s answered %s", address, resp.Status)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			break
		}
	}
	return nil, last
}

// authFor is the authorization for an address that the registry named: only for its own scheme and host, so that credentials go nowhere else.
func (r registry) authFor(address string) string {
	a, errA := url.Parse(address)
	b, errB := url.Parse(r.url)
	if errA != nil || errB != nil || a.Host != b.Host || a.Scheme != b.Scheme {
		return ""
	}
	return r.authorization
}

// withUserinfo moves user and password of a URL into an authorization header.
func withUserinfo(address string) registry {
	address = strings.TrimRight(address, "/")
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return registry{url: address}
	}
	password, _ := u.User.Password()
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	u.User = nil
	return registry{url: u.String(), authorization: auth}
}

// npmRegistry reads the registry and its credentials as npm does: environment, then the user's and the system's npmrc.
// Source: npm documentation, "config" and ".npmrc".
func npmRegistry(getenv func(string) string, home string) registry {
	settings := map[string]string{}
	files := []string{"/etc/npmrc", "/usr/etc/npmrc", filepath.Join(home, ".npmrc")}
	if own := firstOf(getenv("npm_config_userconfig"), getenv("NPM_CONFIG_USERCONFIG")); own != "" {
		files[2] = own
	}
	for _, path := range files {
		readSettings(path, func(_, key, value string) { settings[key] = os.Expand(value, getenv) })
	}
	r := withUserinfo(firstOf(getenv("npm_config_registry"), getenv("NPM_CONFIG_REGISTRY"), settings["registry"], "https://registry.npmjs.org"))
	if _, rest, ok := strings.Cut(r.url, "://"); ok {
		for _, scope := range []string{"//" + rest + "/:", "//" + rest + ":"} {
			if token := settings[scope+"_authToken"]; token != "" {
				r.authorization = "Bearer " + token
			} else if basic := settings[scope+"_auth"]; basic != "" {
				r.authorization = "Basic " + basic
			}
		}
	}
	return r
}

// pypiIndexes reads the package indexes as pip does: environment, then the user's and the system's configuration.
// Source: pip documentation, "Configuration".
func pypiIndexes(getenv func(string) string, home string) []registry {
	index, extra := "", ""
	configHome := firstOf(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	files := []string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", filepath.Join(home, ".pip", "pip.conf"), filepath.Join(configHome, "pip", "pip.conf")}
	if own := getenv("PIP_CONFIG_FILE"); own != "" {
		files = append(files, own)
	}
	for _, path := range files {
		readSettings(path, func(section, key, value string) {
			if section != "global" && section != "install" && section != "download" {
				return
			}
			switch strings.ReplaceAll(key, "_", "-") {
			case "index-url":
				index = value
			case "extra-index-url":
				extra = value
			}
		})
	}
	index = firstOf(getenv("PIP_INDEX_URL"), index, "https://pypi.org/simple")
	out := []registry{withUserinfo(index)}
	for _, e := range strings.Fields(firstOf(getenv("PIP_EXTRA_INDEX_URL"), extra)) {
		out = append(out, withUserinfo(e))
	}
	return out
}

// mavenRepository reads the mirror of Maven Central, and the credentials for it, from the user's or the installation's settings.
// Source: Maven documentation, "Settings Reference", mirrors and servers.
func mavenRepository(getenv func(string) string, home string) registry {
	files := []string{filepath.Join(home, ".m2", "settings.xml"), "/etc/maven/settings.xml"}
	for _, variable := range []string{"MAVEN_HOME", "M2_HOME"} {
		if v := getenv(variable); v != "" {
			files = append(files, filepath.Join(v, "conf", "settings.xml"))
		}
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var settings struct {
			Mirrors []struct {
				ID       string `xml:"id"`
				URL      string `xml:"url"`
				MirrorOf string `xml:"mirrorOf"`
			} `xml:"mirrors>mirror"`
			Servers []struct {
				ID       string `xml:"id"`
				Username string `xml:"username"`
				Password string `xml:"password"`
			} `xml:"servers>server"`
		}
		if xml.Unmarshal(b, &settings) != nil {
			continue
		}
		for _, m := range settings.Mirrors {
			if !mirrorsCentral(m.MirrorOf) || !strings.HasPrefix(m.URL, "http") {
				continue
			}
			r := withUserinfo(os.Expand(m.URL, mavenVariable(getenv)))
			for _, s := range settings.Servers {
				if s.ID == m.ID && s.Username != "" {
					user, password := os.Expand(s.Username, mavenVariable(getenv)), os.Expand(s.Password, mavenVariable(getenv))
					r.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
				}
			}
			return r
		}
	}
	return registry{url: "https://repo1.maven.org/maven2"}
}

// mirrorsCentral reads mirrorOf: "*", "central", "external:*", "*,!other".
func mirrorsCentral(mirrorOf string) bool {
	covers := false
	for _, part := range strings.Split(mirrorOf, ",") {
		switch strings.TrimSpace(part) {
		case "*", "central", "external:*":
			covers = true
		case "!central":
			return false
		}
	}
	return covers
}

// mavenVariable resolves ${env.NAME}.
func mavenVariable(getenv func(string) string) func(string) string {
	return func(name string) string { return getenv(strings.TrimPrefix(name, "env.")) }
}

// readSettings calls set for each "key = value" of an ini-like file, with the section it stands in. A missing file has none.
func readSettings(path string, set func(section, key, value string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	section := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			if key, value, ok := strings.Cut(line, "="); ok {
				set(section, strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"'`))
			}
		}
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// pinHash compares what was written to sum with a pinned hash.
type pinHash struct {
	sum  hash.Hash
	want string
}

func newPinHash(pinned string) pinHash {
	if strings.HasPrefix(pinned, "sha512-") {
		return pinHash{sha512.New(), pinned}
	}
	return pinHash{sha256.New(), pinned}
}

func (h pinHash) matches() bool {
	if strings.HasPrefix(h.want, "sha512-") {
		return h.want == "sha512-"+base64.StdEncoding.EncodeToString(h.sum.Sum(nil))
	}
	return h.want == "sha256:"+hex.EncodeToString(h.sum.Sum(nil))
}

// FetchJars downloads the Maven artifacts that a list in the form of lock.txt names, unless they are there, and checks their hashes. An artifact of the component C
// becomes dir/C/lib/FILE.
func FetchJars(ctx context.Context, list, dir string) error {
	f := newFetcher()
	for _, p := range parseLock(list) {
		file := filepath.Join(dir, p.Component, "lib", filepath.Base(p.File))
		if b, err := os.ReadFile(file); err == nil {
			have := newPinHash(p.Hash)
			have.sum.Write(b)
			if have.matches() {
				continue
			}
		}
		if err := f.into(ctx, p, filepath.Join(dir, p.Component)); err != nil {
			return fmt.Errorf("%s: %w", p.File, err)
		}
	}
	return nil
}
