package api

import (
	"context"
	"net/http"
	"unicode/utf8"

	"thaw/controlplane"
	"thaw/function"
)

type createFunctionInput struct {
	FunctionName         *string
	Code                 *codeInput
	Publish              bool
	PublishTo            *string
	PackageType          *string
	Tags                 map[string]string
	CodeSigningConfigArn *string
	Architectures        []string
	TenancyConfig        *tenancyConfig
	configInput
}

func (in *createFunctionInput) check(v *violations) {
	v.notNull("role", in.Role == nil)
	v.notNull("code", in.Code == nil)
	in.configInput.check(v)
	v.architectures(in.Architectures)
	v.oneOf("packageType", in.PackageType, "Image", "Zip")
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
	if in.TenancyConfig != nil {
		v.notNull("tenancyConfig.tenantIsolationMode", in.TenancyConfig.TenantIsolationMode == nil)
		v.oneOf("tenancyConfig.tenantIsolationMode", in.TenancyConfig.TenantIsolationMode, function.PerTenant)
	}
	v.tags(in.Tags)
}

// tenancy is the tenant isolation mode that was sent.
func (in *createFunctionInput) tenancy() string {
	if in.TenancyConfig == nil {
		return ""
	}
	return text(in.TenancyConfig.TenantIsolationMode)
}

// unsupported refuses what cannot be had.
func (in *createFunctionInput) unsupported() error {
	switch {
	case in.PackageType != nil && *in.PackageType == "Image", in.Code.ImageUri != nil:
		return notImplemented("A function from a container image")
	case in.PublishTo != nil:
		return publishTo
	}
	return in.configInput.unsupported()
}

// CreateFunction: POST /2015-03-31/functions -> 201.
//
// Supported: zip inline, Publish, Tags, TenancyConfig, everything of config_input.go. Differs: the role is not assumed, any that is
// well-formed will do; VpcConfig, KMSKeyArn and DeadLetterConfig are kept and have no effect. Missing (501): container
// images, file systems, capacity providers, durable settings.
func (c *call) createFunction() error {
	var in createFunctionInput
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	var ref function.Reference
	v.notNull("functionName", in.FunctionName == nil)
	if in.FunctionName != nil {
		ref, _ = c.checkTarget(&v, writeNames, *in.FunctionName)
	}
	in.check(&v)
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolve(ref, "")
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(t.key.Name) > function.MaxNameLength { // the name as it was sent is shown
		return invalidParameter("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to %d", *in.FunctionName, function.MaxNameLength)
	}
	if err := in.unsupported(); err != nil {
		return err
	}
	if arn := text(in.CodeSigningConfigArn); arn != "" && c.s.Signing.Get(arn) == nil {
		return noSigningConfig(arn)
	}
	e, err := c.s.Plane.Create(c.r.Context(), controlplane.New{
		Key: t.key, Partition: t.partition, Architecture: first(in.Architectures), Settings: *in.settings(), Tags: in.Tags, Publish: in.Publish, CodeSigningARN: text(in.CodeSigningConfigArn),
		TenantIsolation: in.tenancy(),
		Code:            func(ctx context.Context) (*controlplane.Code, error) { return c.takeCode(ctx, in.Code) },
	})
	if err != nil {
		return err
	}
	shown := &e.Record.Latest
	if in.Publish { // the answer names the version, but its ARN does not: as recorded
		shown = e.Version(1)
	}
	return c.json(http.StatusCreated, described(e.Record, shown, e.Record.ARN()))
}
