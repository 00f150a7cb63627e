package controlplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"thaw/function"
)

// New is a function to create.
type New struct {
	function.Key
	Partition       string
	Architecture    string // empty: the default
	Settings        Settings
	Tags            map[string]string
	Publish         bool   // version 1, too
	CodeSigningARN  string // of a code signing configuration; may be empty
	TenantIsolation string // PER_TENANT; empty: none
	// Code of the function, taken in when all else is right. Errors go to the caller as they are.
	Code func(context.Context) (*Code, error)
}

// Create makes a function and has it settled.
func (p *Plane) Create(ctx context.Context, n New) (*function.Entry, error) {
	defer p.usingLayers(&n.Settings)()
	config, err := p.newConfig(&n)
	if err != nil {
		return nil, err
	}
	if err := p.findNetwork(ctx, n.Region, config.VPC); err != nil {
		return nil, err
	}
	code, err := n.Code(ctx)
	if err != nil {
		return nil, err
	}
	defer code.Release()
	config.CodeSHA256, config.CodeSize = code.SHA256, code.Size
	if err := p.checkSize(ctx, &config.Package); err != nil {
		return nil, err
	}

	ctx, cancel := p.writing(ctx)
	defer cancel()
	incarnation, err := p.Store.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	r := &function.Record{
		Key: n.Key, Partition: n.Partition, Incarnation: incarnation, Epoch: incarnation, NextNumber: 1, Tags: n.Tags, CodeSigningARN: n.CodeSigningARN,
		Latest: function.VersionRecord{Number: function.Latest, Config: config, Life: function.Creating, RevisionID: newRevisionID(), Modified: p.Now()},
	}
	var e *function.Entry
	err = p.exclusive(n.Key, func() error {
		e, err = p.add(ctx, r, n.Publish)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.settleSoon(n.Key)
	return e, nil
}

// newConfig checks what can be checked without the code, in the order of the service.
func (p *Plane) newConfig(n *New) (function.Config, error) {
	if utf8.RuneCountInString(n.Name) > function.MaxNameLength {
		return function.Config{}, invalid("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to %d", n.Name, function.MaxNameLength)
	}
	if p.view.Get(n.Key) != nil {
		return function.Config{}, exists(n.Name)
	}
	c := function.Config{
		TimeoutSeconds: int(function.DefaultTimeout.Seconds()), MemoryMiB: function.DefaultMemoryMiB, EphemeralMiB: function.DefaultEphemeralMiB,
		Architecture: function.DefaultArchitecture, Tracing: function.DefaultTracing,
		Logging:         function.Logging{Format: "Text", Group: "/aws/lambda/" + n.Name},
		TenantIsolation: n.TenantIsolation,
	}
	if n.Architecture != "" {
		c.Architecture = n.Architecture
	}
	if n.Settings.Runtime == nil || n.Settings.Handler == nil {
		return c, invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if err := CheckTagCount(len(n.Tags)); err != nil {
		return c, err
	}
	if err := p.checkSnapshotTags(slices.Collect(maps.Keys(n.Tags)), n.Tags); err != nil {
		return c, err
	}
	return c, p.apply(n.Key, &n.Settings, &c)
}

func exists(name string) *Refusal { return refuse(Conflict, "Function already exist: %s", name) }

// add writes a new function, and version 1 of it if wanted.
func (p *Plane) add(ctx context.Context, r *function.Record, publish bool) (*function.Entry, error) {
	if p.view.Get(r.Key) != nil {
		return nil, exists(r.Name)
	}
	if publish {
		if _, err := p.addVersion(ctx, r, nil, function.Creating); err != nil {
			return nil, err
		}
	}
	switch err := p.Store.Create(ctx, r); {
	case errors.Is(err, function.ErrExists):
		return nil, exists(r.Name)
	case err != nil:
		return nil, err
	}
	if err := p.view.Wait(ctx, r.Revision); err != nil {
		return nil, err
	}
	if e := p.view.Get(r.Key); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("function %s: %w", r.Name, function.ErrNotFound)
}
