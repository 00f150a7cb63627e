package controlplane

import (
	"context"
	"errors"

	"thaw/function"
	"thaw/layer"
)

// NewLayer is a version of a layer to publish.
type NewLayer struct {
	layer.Key
	Partition, Description, License string
	Runtimes, Architectures         []string
	// Code of the layer, taken in when all else is right. Errors go to the caller as they are.
	Code func(context.Context) (*Code, error)
}

// PublishLayer adds a version to a layer. Its package is checked as a function's is.
func (p *Plane) PublishLayer(ctx context.Context, n NewLayer) (*layer.Record, *layer.Version, error) {
	code, err := n.Code(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		code.Release()
		p.Codes.Drop(code.SHA256) // functions see what layers are together: codepackage.Store.Opt
	}()
	unzipped, err := p.Codes.Unzipped(ctx, code.SHA256)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := p.writing(ctx)
	defer cancel()
	return p.Layers.Publish(ctx, n.Key, n.Partition, layer.Version{Description: n.Description, License: n.License, Runtimes: n.Runtimes,
		Architectures: n.Architectures, SHA256: code.SHA256, Size: code.Size, Unzipped: unzipped, Created: p.Now()})
}

// DeleteLayer removes a version of a layer; one that is not there is no error. Functions that have it keep it.
func (p *Plane) DeleteLayer(ctx context.Context, k layer.Key, n int) error {
	wctx, cancel := p.writing(ctx)
	defer cancel()
	p.layersMu.Lock()
	defer p.layersMu.Unlock()
	gone, err := p.Layers.Delete(wctx, k, n)
	if errors.Is(err, layer.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.forgetCode(ctx, gone.SHA256)
	return nil
}

// usingLayers lets no version of a layer be deleted between its being found and the function's record being written.
func (p *Plane) usingLayers(s *Settings) (done func()) {
	if s.Layers == nil || len(*s.Layers) == 0 {
		return func() {}
	}
	p.layersMu.RLock()
	return p.layersMu.RUnlock
}

// findLayers are the layers that ARNs name, as a function of the key keeps them. Order of checks and texts as recorded
// (C-123).
func (p *Plane) findLayers(k function.Key, arns []string) ([]function.Layer, error) {
	if len(arns) > function.MaxLayers {
		return nil, invalid("Cannot reference more than %d layers.", function.MaxLayers)
	}
	var found []function.Layer
	seen := map[layer.Key]string{}
	for _, arn := range arns {
		ref, ok := layer.Parse(arn)
		lk := layer.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name}
		if ok && ref.Account == k.Account && ref.Region != k.Region {
			return nil, invalid("Layers are not in the same region as the function. Layers are expected to be in region %s.", k.Region)
		}
		var v *layer.Version
		if r := p.Layers.Get(lk); r != nil {
			v = r.Find(ref.Number)
		}
		if !ok || v == nil {
			return nil, invalid("Layer version %s does not exist.", arn)
		}
		if other, twice := seen[lk]; twice {
			return nil, invalid("Two different versions of the same layer are not allowed to be referenced in the same function. %s and %s are versions of the same layer.", other, arn)
		}
		seen[lk] = arn
		found = append(found, function.Layer{ARN: arn, SHA256: v.SHA256, Size: v.Size, Unzipped: v.Unzipped})
	}
	return found, nil
}

// checkSize refuses a package that is too large with its layers.
func (p *Plane) checkSize(ctx context.Context, pack *function.Package) error {
	if len(pack.Layers) == 0 {
		return nil // the code alone was checked when it was unpacked
	}
	sum, err := p.Codes.Unzipped(ctx, pack.CodeSHA256)
	if err != nil {
		return err
	}
	for _, l := range pack.Layers {
		sum += l.Unzipped
	}
	if sum > function.MaxUnzippedBytes {
		return invalid("Unzipped size must be smaller than %d bytes", function.MaxUnzippedBytes)
	}
	return nil
}
