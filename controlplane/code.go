package controlplane

import (
	"bytes"
	"context"
	"io"

	"thaw/function"
)

// Code is a package that was taken in: unpacked, so known to be good, and stored.
type Code struct {
	SHA256 string // lower-case hex
	Size   int64  // bytes
	// Release must be called when the record that names the code is written, or is given up.
	Release func()
}

// TakeCode takes in a zip package that came with its request. Errors: *Refusal, those of the store of unpacked packages.
func (p *Plane) TakeCode(ctx context.Context, zip []byte) (*Code, error) {
	switch {
	case len(zip) == 0:
		return nil, invalid("Uploaded file must be a non-empty zip")
	case len(zip) > function.MaxZippedBytes:
		return nil, refuse(TooLarge, "Zipped size must be smaller than %d bytes", function.MaxZippedBytes)
	}
	return p.take(ctx, io.NewSectionReader(bytes.NewReader(zip), 0, int64(len(zip))))
}

func (p *Plane) take(ctx context.Context, zip *io.SectionReader) (*Code, error) {
	hash, release, err := p.keepCode(ctx, zip)
	if err != nil {
		return nil, err
	}
	return &Code{hash, zip.Size(), release}, nil
}

// keepCode unpacks and stores a code package. release must be called when the record that names it is written, or is given up.
func (p *Plane) keepCode(ctx context.Context, zip *io.SectionReader) (hash string, release func(), err error) {
	hash, unpacked, err := p.Codes.Unpack(ctx, zip)
	if err != nil {
		return "", nil, err
	}
	p.codeMu.Lock()
	p.pins[hash]++
	p.codeMu.Unlock()
	release = func() {
		unpacked()
		p.codeMu.Lock()
		if p.pins[hash]--; p.pins[hash] == 0 {
			delete(p.pins, hash)
		}
		p.codeMu.Unlock()
		p.forgetCode(context.WithoutCancel(ctx), hash)
	}
	if _, _, err := p.Blobs.Put(ctx, io.NewSectionReader(zip, 0, zip.Size())); err != nil {
		release()
		return "", nil, err
	}
	return hash, release, nil
}

// forgetCode removes packages that no function needs any more. What a restart would find is not worth failing a request for.
func (p *Plane) forgetCode(ctx context.Context, hashes ...string) {
	if len(hashes) == 0 {
		return
	}
	ctx, cancel := p.writing(ctx)
	defer cancel()
	p.codeMu.Lock()
	defer p.codeMu.Unlock()
	unwanted := map[string]bool{}
	for _, h := range hashes {
		if h != "" && p.pins[h] == 0 {
			unwanted[h] = true
		}
	}
	if len(unwanted) == 0 || p.Store.Complete() != nil { // a function whose record is lost may have the same package
		return
	}
	for _, e := range p.view.All() {
		e.Codes(func(h string) { delete(unwanted, h) })
	}
	p.Layers.Blobs(func(h string) { delete(unwanted, h) })
	for h := range unwanted {
		if err := p.Blobs.Delete(ctx, h); err != nil {
			p.Log.Warn("unused code stays until the next start", "code", h, "error", err)
		}
		p.Codes.Drop(h)
	}
}
