package function

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Package is all that a version brings of its own onto the disk of its environments: code, layers, or an image. What
// starts an environment and what tells snapshots apart take it as one, so that a new part of it is seen by both.
// It is stored: members may be added, never renamed.
type Package struct {
	CodeSHA256 string  // lower-case hex of the package as uploaded; empty for an image
	CodeSize   int64   // bytes of the package as uploaded
	Layers     []Layer `json:",omitempty"` // in the order in which they are laid over each other
	Image      *Image  `json:",omitempty"` // nil: a zip package
}

// Layer is one version of a layer as a function uses it. The function keeps it also when the layer's version is deleted.
type Layer struct {
	ARN    string // of the layer's version
	SHA256 string // lower-case hex of its package as uploaded
	Size   int64  // bytes of its package
	// Unzipped is the bytes of its files. 0 in records of a release without layers.
	Unzipped int64 `json:",omitempty"`
}

// Image is a container image and how its configuration is overridden.
type Image struct {
	URI              string   // as the customer wrote it
	Digest           string   // sha256:...
	EntryPoint       []string `json:",omitempty"`
	Command          []string `json:",omitempty"`
	WorkingDirectory string   `json:",omitempty"`
}

// Clone returns a copy that shares nothing with p.
func (p *Package) Clone() Package {
	c := *p
	c.Layers = slices.Clone(p.Layers)
	if p.Image != nil {
		i := *p.Image
		i.EntryPoint, i.Command = slices.Clone(i.EntryPoint), slices.Clone(i.Command)
		c.Image = &i
	}
	return c
}

// Blobs calls f with the hash of everything of the package that is kept by its content.
func (p *Package) Blobs(f func(sha256 string)) {
	if p.CodeSHA256 != "" {
		f(p.CodeSHA256)
	}
	for _, l := range p.Layers {
		f(l.SHA256)
	}
}

// Folders calls f with the name of everything of the package that is kept unpacked, and of every blob that it is made of.
func (p *Package) Folders(f func(name string)) {
	p.Blobs(f)
	if opt := p.Opt(); opt != "" {
		f(opt)
	}
}

// Opt names what a package's layers are together, laid over each other: lower-case hex, the same for the same layers in
// the same order. Empty: there are none.
func (p *Package) Opt() string {
	if len(p.Layers) == 0 {
		return ""
	}
	h := sha256.New()
	h.Write([]byte("thaw opt 1\n"))
	for _, l := range p.Layers {
		h.Write([]byte(l.SHA256 + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Identity is the same for packages that put the same on the disk of an environment, and for no others. Of code alone it
// is the code's hash.
func (p *Package) Identity() string {
	if len(p.Layers) == 0 && p.Image == nil {
		return p.CodeSHA256
	}
	content := struct {
		Code   string
		Layers []string
		Image  *Image
	}{Code: p.CodeSHA256}
	for _, l := range p.Layers {
		content.Layers = append(content.Layers, l.SHA256)
	}
	if p.Image != nil {
		i := *p.Image
		i.URI = "" // two names of one image
		content.Image = &i
	}
	b, err := json.Marshal(content)
	if err != nil {
		panic(err) // texts only
	}
	sum := sha256.Sum256(append([]byte("thaw package 1\n"), b...))
	return hex.EncodeToString(sum[:])
}
