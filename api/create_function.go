package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"

	"thaw/function"
)

// CreateFunction: POST /2015-03-31/functions -> 201.
//
// Supported: zip inline, Publish, Tags, everything of config_input.go.
// Differs: the role is not assumed, any that is well-formed will do; VpcConfig, KMSKeyArn and DeadLetterConfig are kept and have no effect.
// Missing (501): code in S3, container images, file systems, capacity providers, durable and tenancy settings; layers do not exist yet.
func (c *call) createFunction() error {
	var in struct {
		FunctionName         *string
		Code                 *codeInput
		Publish              bool
		PublishTo            *string
		PackageType          *string
		Tags                 map[string]string
		CodeSigningConfigArn *string
		Architectures        []string
		TenancyConfig        *struct{}
		configInput
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	var ref function.Reference
	v.notNull("functionName", in.FunctionName == nil)
	if in.FunctionName != nil {
		ref, _ = c.checkTarget(&v, writeNames, *in.FunctionName)
	}
	v.notNull("role", in.Role == nil)
	v.notNull("code", in.Code == nil)
	in.configInput.check(&v)
	v.architectures(in.Architectures)
	v.oneOf("packageType", in.PackageType, "Image", "Zip")
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
	v.tags(in.Tags)
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolve(ref, "")
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(t.key.Name) > function.MaxNameLength {
		return invalidParameter("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to %d", *in.FunctionName, function.MaxNameLength)
	}
	if c.s.view.Get(t.key) != nil {
		return fail("ResourceConflictException", "Function already exist: %s", t.key.Name)
	}

	config := function.Config{
		TimeoutSeconds: int(function.DefaultTimeout.Seconds()), MemoryMiB: function.DefaultMemoryMiB, EphemeralMiB: function.DefaultEphemeralMiB,
		Architecture: function.DefaultArchitecture, Tracing: function.DefaultTracing,
		Logging: function.Logging{Format: "Text", Group: "/aws/lambda/" + t.key.Name},
	}
	if len(in.Architectures) > 0 {
		config.Architecture = in.Architectures[0]
	}
	switch {
	case in.PackageType != nil && *in.PackageType == "Image", in.Code.ImageUri != nil:
		return notImplemented("A function from a container image")
	case in.TenancyConfig != nil:
		return notImplemented("TenancyConfig")
	case in.PublishTo != nil:
		return invalidParameter("PublishTo is supported for functions with a capacity provider only.")
	case in.CodeSigningConfigArn != nil && *in.CodeSigningConfigArn != "":
		return fail("CodeSigningConfigNotFoundException", "The Lambda code signing configuration %s can not be found.", *in.CodeSigningConfigArn)
	case in.Runtime == nil || in.Handler == nil:
		return invalidParameter("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if err := checkTagCount(len(in.Tags)); err != nil {
		return err
	}
	if err := c.s.checkSnapshotTags(slices.Collect(maps.Keys(in.Tags)), in.Tags); err != nil {
		return err
	}
	if err := c.s.apply(&in.configInput, &config); err != nil {
		return err
	}
	release, err := c.takeCode(in.Code, &config)
	if err != nil {
		return err
	}
	defer release()

	e, err := c.s.create(c, t, config, in.Tags, in.Publish)
	if err != nil {
		return err
	}
	shown := &e.Record.Latest
	if in.Publish { // the answer names the version, but its ARN does not: as recorded
		shown = e.Version(1)
	}
	return c.json(http.StatusCreated, described(e.Record, shown, e.Record.ARN()))
}

// create writes a new function, and version 1 of it if wanted, and has it settled.
func (s *Server) create(c *call, t target, config function.Config, tags map[string]string, publish bool) (*function.Entry, error) {
	ctx, cancel := s.writing(c.r.Context())
	defer cancel()
	incarnation, err := s.Store.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	r := &function.Record{
		Key: t.key, Partition: t.partition, Incarnation: incarnation, Epoch: incarnation, NextNumber: 1, Tags: tags,
		Latest: function.VersionRecord{Number: function.Latest, Config: config, Life: function.Creating, RevisionID: newRevisionID(), Modified: s.Now()},
	}
	var e *function.Entry
	err = s.exclusive(t.key, func() error {
		if s.view.Get(t.key) != nil {
			return function.ErrExists
		}
		if publish {
			if _, err := s.addVersion(ctx, r, nil, function.Creating); err != nil {
				return err
			}
		}
		if err := s.Store.Create(ctx, r); err != nil {
			return err
		}
		if err := s.view.Wait(ctx, r.Revision); err != nil {
			return err
		}
		e = s.view.Get(t.key)
		return nil
	})
	if errors.Is(err, function.ErrExists) {
		return nil, fail("ResourceConflictException", "Function already exist: %s", t.key.Name)
	}
	if err == nil && e == nil {
		err = fmt.Errorf("function %s: %w", t.key.Name, function.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	s.settleSoon(t.key)
	return e, nil
}
