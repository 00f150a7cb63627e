package runtimes

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// fetcher downloads pinned files from the registries that this host is configured to use, in the files and variables that npm, pip
// and Maven themselves read. Proxies and certificates are those of Go's standard client (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).
type fetcher struct {
	http  *http.Client
	npm   registry
	pypi  []registry // index first, then extra ones
	maven registry
	count func(got, total int64) // is told of bytes that came and of bytes that are to come; nil: nobody is
}

// maxFile bounds a download: the largest, Node, has 60 MB.
const maxFile = 512 << 20

// stallLimit bounds the time in which a download gets no byte further. A slow network is no reason to give up.
const stallLimit = time.Minute

// dialLimit bounds the wait for a connection. Behind a firewall that drops packets, a function whose runtime lacks its
// SDK alone waits for three of these.
const dialLimit = 5 * time.Second

var errStalled = errors.New("the registry stopped sending")

// fetchTransport is one for all fetches, as its connections are kept for a while.
var fetchTransport = sync.OnceValue(func() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialLimit}).DialContext
	return transport
})

func newFetcher() *fetcher {
	home, _ := os.UserHomeDir()
	return &fetcher{
		http:  &http.Client{Transport: fetchTransport()}, // stallLimit bounds each download
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
		return untar(body, dir, p.Layout)
	case "pypi":
		return unzip(body, dir, p.Layout)
	case "maven":
		if p.Layout.From != "" {
			return unzip(body, dir, p.Layout)
		}
		if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
			return err
		}
		return copyFile(body, filepath.Join(dir, "lib", filepath.Base(p.File)), 0o644)
	}
	return fmt.Errorf("no registry %q", p.Registry)
}

// download returns a temporary file, at its begin, that has the pinned hash.
func (f *fetcher) download(ctx context.Context, p pin) (*os.File, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallLimit, func() { cancel(errStalled) })
	defer stall.Stop()
	resp, err := f.open(ctx, p)
	if err != nil {
		return nil, because(ctx, err)
	}
	defer resp.Body.Close()
	tmp, err := os.CreateTemp("", "thaw-fetch-")
	if err != nil {
		return nil, err
	}
	f.counted(0, resp.ContentLength)
	want := newPinHash(p.Hash)
	moved := writerFunc(func(n int) { stall.Reset(stallLimit); f.counted(int64(n), 0) })
	n, err := io.Copy(io.MultiWriter(tmp, want.sum, moved), io.LimitReader(resp.Body, maxFile+1))
	address := resp.Request.URL.Redacted()
	switch {
	case err != nil:
		err = because(ctx, err)
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

// because says why a context ended instead of that it did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (f *fetcher) counted(got, total int64) {
	if f.count != nil {
		f.count(got, max(total, 0))
	}
}

// writerFunc is a writer that only looks at how much is written.
type writerFunc func(n int)

func (w writerFunc) Write(b []byte) (int, error) {
	w(len(b))
	return len(b), nil
}

// open asks the registry for the file.
func (f *fetcher) open(ctx context.Context, p pin) (*http.Response, error) {
	switch p.Registry {
	case "npm":
		// Where npm's own registry and most others have it. It saves the list of a package's versions, which has megabytes.
		usual := f.npm.url + "/" + p.Package + "/-/" + path.Base(p.Package) + "-" + p.File + ".tgz"
		if resp, err := f.get(ctx, usual, f.npm.authorization, ""); err == nil || !errors.As(err, new(*refusedError)) {
			return resp, err
		}
		address, err := f.findTarball(ctx, p)
		if err != nil {
			return nil, err
		}
		return f.get(ctx, address, f.npm.authFor(address), "")
	case "pypi":
		var last error
		for _, index := range f.pypi {
			var address string
			if address, last = f.findWheel(ctx, index, p); last == nil {
				return f.get(ctx, address, index.authFor(address), "")
			}
		}
		return nil, last
	case "maven":
		return f.get(ctx, f.maven.url+"/"+p.File, f.maven.authorization, "")
	}
	return nil, fmt.Errorf("no registry %q", p.Registry)
}

// findTarball asks an npm registry where a package's file is.
// Source: npm registry API, package metadata; the media type is that of its short form.
func (f *fetcher) findTarball(ctx context.Context, p pin) (string, error) {
	var meta struct {
		Versions map[string]struct {
			Dist struct{ Tarball string }
		}
	}
	page := f.npm.url + "/" + strings.Replace(p.Package, "/", "%2f", 1)
	if err := f.getJSON(ctx, page, f.npm.authorization, "application/vnd.npm.install-v1+json", &meta); err != nil {
		return "", err
	}
	v, ok := meta.Versions[p.File]
	if !ok || v.Dist.Tarball == "" {
		return "", fmt.Errorf("registry %s has no version %s", f.npm.url, p.File)
	}
	return v.Dist.Tarball, nil
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
			last = withCertificateHint(err)
			continue
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		resp.Body.Close()
		last = &refusedError{address, resp.Status}
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			break
		}
	}
	return nil, last
}

// withCertificateHint adds what helps where a registry's certificate is of an authority that this host does not know: a
// bare Debian knows none.
func withCertificateHint(err error) error {
	switch {
	case !errors.As(err, new(x509.UnknownAuthorityError)) && !errors.As(err, new(*tls.CertificateVerificationError)):
		return err
	case hostCertificates() == "":
		return fmt.Errorf("%w; this host knows no authorities, type: apt-get update && apt-get install -y ca-certificates, and start the server again", err)
	}
	return fmt.Errorf("%w; where a proxy signs for the registry, SSL_CERT_FILE names the file with its authority", err)
}

// refusedError says that a registry has answered, and not with the file.
type refusedError struct{ address, status string }

func (e *refusedError) Error() string { return e.address + " answered " + e.status }

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

// FetchJars downloads the Maven artifacts that a list in the form of lock.txt names, unless they are there, and checks
// their hashes. An artifact of the component C becomes dir/C/lib/FILE.
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

// FetchPackages unpacks the packages that a list in the form of lock.txt names, for those who try what others have
// published: the component C becomes the folder dir/C, whole or not at all. One that is there is taken for right, so dir
// is named after the list.
func FetchPackages(ctx context.Context, list, dir string) error {
	f := newFetcher()
	var names []string
	pins := map[string][]pin{}
	for _, p := range parseLock(list) {
		if pins[p.Component] == nil {
			names = append(names, p.Component)
		}
		pins[p.Component] = append(pins[p.Component], p)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		to := filepath.Join(dir, name)
		if isFolder(to) {
			continue
		}
		tmp, err := os.MkdirTemp(dir, ".tmp-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		for _, p := range pins[name] {
			if err := f.into(ctx, p, tmp); err != nil {
				return fmt.Errorf("%s %s: %w", p.Package, p.File, err)
			}
		}
		if err := os.Rename(tmp, to); err != nil && !isFolder(to) { // or another process was first
			return err
		}
	}
	return nil
}
