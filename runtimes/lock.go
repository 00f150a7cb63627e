package runtimes

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

//go:embed lock.txt
var lockText string

//go:embed lock-awssdk.txt
var lockAWSSDK string

// pin is one file of a registry, named so exactly that nothing else can take its place.
type pin struct {
	Registry  string // npm, pypi, maven
	Component string // nodejs22, cpython3.12, jdk21; python3.12, java (clients); awssdk-python3, awssdk-nodejs; aws-lambda-ric
	Machine   string // x86_64, aarch64, any
	Package   string
	File      string // npm: version; pypi: wheel's file name; maven: path below the repository's root
	Hash      string // sha512-BASE64 (npm), sha256:HEX
	Layout    layout
}

// layout says which files of an archive go where.
type layout struct {
	From  string   // only what lies below this folder of the archive, without it
	To    string   // below the component's folder
	Skip  []string // "a/b/" is a folder, "*.x" an ending, anything else one file; as named without From
	Glibc int      // the minor release of the C library that the programs in it need: 35 for 2.35; 0: any that we know of will do
}

// place is where a file of the archive goes, below the component's folder; empty: nowhere.
func (l layout) place(name string) string {
	if l.From != "" {
		rest, ok := strings.CutPrefix(name, l.From+"/")
		if !ok {
			return ""
		}
		name = rest
	}
	for _, skip := range l.Skip {
		if ending, ok := strings.CutPrefix(skip, "*"); ok && strings.HasSuffix(name, ending) || name == skip || strings.HasSuffix(skip, "/") && strings.HasPrefix(name, skip) {
			return ""
		}
	}
	return filepath.Join(l.To, name)
}

// pins are the lines of the lock files. Lines for "python3" belong to every python3.X.
var pins = append(parseLock(lockText), parseLock(lockAWSSDK)...)

func parseLock(text string) []pin {
	var out []pin
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 5 {
			panic("lock.txt: " + line) // embedded: a broken line is a broken build
		}
		component, machine, _ := strings.Cut(f[1], "/")
		p := pin{Registry: f[0], Component: component, Machine: machine, Package: f[2], File: f[3], Hash: f[4]}
		for _, more := range f[5:] {
			switch name, value, _ := strings.Cut(more, "="); name {
			case "from":
				p.Layout.From = value
			case "to":
				p.Layout.To = value
			case "skip":
				p.Layout.Skip = strings.Split(value, ",")
			case "glibc":
				minor, err := strconv.Atoi(strings.TrimPrefix(value, "2."))
				if err != nil {
					panic("lock.txt: " + line)
				}
				p.Layout.Glibc = minor
			default:
				panic("lock.txt: " + line)
			}
		}
		out = append(out, p)
	}
	return out
}

// component is a set of pinned files that is installed as one folder.
type component struct {
	Name string
	Pins []pin
}

// componentFor finds the pins of a component for this machine; ok is false when there are none.
func componentFor(name string) (component, bool) {
	c, own := component{Name: name}, false
	for _, p := range pins {
		if p.Machine != "any" && p.Machine != machine() {
			continue
		}
		shared := p.Component == "python3" && strings.HasPrefix(name, "python3.")
		if p.Component != name && !shared {
			continue
		}
		own = own || !shared
		c.Pins = append(c.Pins, p)
	}
	return c, own
}

// folder is the name of the component's folder: it changes with every pin, so that a folder that exists is right.
func (c component) folder() string {
	h := sha256.New()
	for _, p := range c.Pins {
		fmt.Fprintf(h, "{%s %s %s %s %s %s}\n", p.Registry, p.Component, p.Machine, p.Package, p.File, p.Hash)
		if l := p.Layout; l.From != "" || l.To != "" || len(l.Skip) > 0 {
			fmt.Fprintln(h, l.From, l.To, l.Skip)
		}
	}
	return fmt.Sprintf("%s-%s-%s", c.Name, machine(), hex.EncodeToString(h.Sum(nil))[:12])
}

// version of the component's main package: the first pin's.
func (c component) version() string {
	p := c.Pins[0]
	switch p.Registry {
	case "pypi": // NAME-VERSION-TAGS.whl
		return strings.Split(p.File, "-")[1]
	case "maven": // group/artifact/VERSION/file
		parts := strings.Split(p.File, "/")
		return parts[len(parts)-2]
	}
	return p.File
}

// glibc is the minor release of the C library that the component's programs need; 0: any.
func (c component) glibc() int {
	newest := 0
	for _, p := range c.Pins {
		newest = max(newest, p.Layout.Glibc)
	}
	return newest
}

// machine is this host's architecture as the kernel spells it.
func machine() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

// hostArchitecture is this host's architecture as the API spells it.
func hostArchitecture() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}
