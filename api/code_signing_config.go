package api

import (
	"errors"
	"net/http"

	"thaw/controlplane"
	"thaw/function"
	"thaw/signing"
)

// codeSigningConfig is the wire's CodeSigningConfig.
type codeSigningConfig struct {
	CodeSigningConfigId  string
	CodeSigningConfigArn string
	Description          string `json:",omitempty"`
	AllowedPublishers    allowedPublishers
	CodeSigningPolicies  signingPolicies
	LastModified         string
}

type (
	allowedPublishers struct{ SigningProfileVersionArns []string }
	signingPolicies   struct{ UntrustedArtifactOnDeployment *string }
)

func signingConfig(c *signing.Config) codeSigningConfig {
	return codeSigningConfig{CodeSigningConfigId: c.ID(), CodeSigningConfigArn: c.ARN, Description: c.Description,
		AllowedPublishers: allowedPublishers{c.Publishers}, CodeSigningPolicies: signingPolicies{&c.Policy}, LastModified: timestamp(c.Modified)}
}

type codeSigningInput struct {
	Description         *string
	AllowedPublishers   *allowedPublishers
	CodeSigningPolicies *signingPolicies
}

func (in *codeSigningInput) check(v *violations) {
	v.text("description", in.Description, 0, 256, nil, "")
	if p := in.AllowedPublishers; p != nil {
		v.notNull("allowedPublishers.signingProfileVersionArns", p.SigningProfileVersionArns == nil)
		v.listSize("allowedPublishers.signingProfileVersionArns", p.SigningProfileVersionArns, 20)
	}
	if p := in.CodeSigningPolicies; p != nil {
		v.oneOf("codeSigningPolicies.untrustedArtifactOnDeployment", p.UntrustedArtifactOnDeployment, "Warn", "Enforce")
	}
}

func (in *codeSigningInput) apply(c *signing.Config) {
	if in.Description != nil {
		c.Description = *in.Description
	}
	if in.AllowedPublishers != nil {
		c.Publishers = in.AllowedPublishers.SigningProfileVersionArns
	}
	if in.CodeSigningPolicies != nil && in.CodeSigningPolicies.UntrustedArtifactOnDeployment != nil {
		c.Policy = *in.CodeSigningPolicies.UntrustedArtifactOnDeployment
	}
}

func (c *call) signingARN(id string) string {
	return "arn:" + partitionOf(c.region) + ":lambda:" + c.region + ":" + c.s.AccountID + ":code-signing-config:" + id
}

const signingPattern = `arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:code-signing-config:csc-[a-z0-9]{17}`

var signingRE = whole(signingPattern)

// noSigningConfig says so in the words of the operations about a configuration; those about a function have others.
func noSigningConfig(arn string) *Error {
	return fail("CodeSigningConfigNotFoundException", "The code signing configuration cannot be found. Check that the provided configuration is not deleted: %s.", arn)
}

// readSigning is how operations about one configuration begin.
func (c *call) readSigning(in *codeSigningInput) (*signing.Config, error) {
	var v violations
	v.text("codeSigningConfigArn", &c.label, 0, 200, signingRE, signingPattern)
	if in != nil {
		if err := c.decode(in); err != nil {
			return nil, err
		}
		in.check(&v)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	config := c.s.Signing.Get(c.label)
	if config == nil {
		return nil, fail("ResourceNotFoundException", "The Lambda code signing configuration %s can not be found.", c.label)
	}
	return config, nil
}

type oneSigningConfig struct{ CodeSigningConfig codeSigningConfig }

// CreateCodeSigningConfig: POST /2020-04-22/code-signing-configs -> 201.
//
// Differs: it is kept, and nothing is verified.
func (c *call) createCodeSigningConfig() error {
	var in struct {
		codeSigningInput
		Tags map[string]string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	v.notNull("allowedPublishers", in.AllowedPublishers == nil)
	in.check(&v)
	v.tags(in.Tags)
	if err := v.err(); err != nil {
		return err
	}
	if err := controlplane.CheckTagCount(len(in.Tags)); err != nil {
		return err
	}
	config := &signing.Config{ARN: c.signingARN(signing.NewID()), Policy: "Warn", Tags: in.Tags, Modified: c.s.Plane.Now()}
	in.apply(config)
	if err := c.s.Signing.Create(c.r.Context(), config); err != nil {
		return err
	}
	return c.json(http.StatusCreated, oneSigningConfig{signingConfig(config)})
}

// GetCodeSigningConfig: GET /2020-04-22/code-signing-configs/{CodeSigningConfigArn} -> 200. Supported.
func (c *call) getCodeSigningConfig() error {
	config, err := c.readSigning(nil)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, oneSigningConfig{signingConfig(config)})
}

// UpdateCodeSigningConfig: PUT /2020-04-22/code-signing-configs/{CodeSigningConfigArn} -> 200. Supported.
func (c *call) updateCodeSigningConfig() error {
	var in codeSigningInput
	if _, err := c.readSigning(&in); err != nil {
		return err
	}
	config, err := c.s.Signing.Update(c.r.Context(), c.label, func(next *signing.Config) error {
		in.apply(next)
		next.Modified = c.s.Plane.Now()
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, oneSigningConfig{signingConfig(config)})
}

// DeleteCodeSigningConfig: DELETE /2020-04-22/code-signing-configs/{CodeSigningConfigArn} -> 204. Supported: one that
// functions have is kept.
func (c *call) deleteCodeSigningConfig() error {
	config, err := c.readSigning(nil)
	if err != nil {
		return err
	}
	for range c.signedAfter(config.ARN, "") {
		return fail("ResourceConflictException", "The code signing configuration %s is in use by functions and cannot be deleted.", config.ARN)
	}
	if err := c.s.Signing.Delete(c.r.Context(), config.ARN); err != nil && !errors.Is(err, signing.ErrNotFound) {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// ListCodeSigningConfigs: GET /2020-04-22/code-signing-configs?Marker=&MaxItems= -> 200. Supported.
func (c *call) listCodeSigningConfigs() error {
	var v violations
	p, err := c.readPage(&v, "signing/"+c.region)
	if err != nil {
		return err
	}
	items := func(yield func(*signing.Config) bool) {
		for _, config := range c.s.Signing.All(c.signingARN("")) {
			if config.ARN > p.after && !yield(config) {
				return
			}
		}
	}
	var out struct {
		CodeSigningConfigs []codeSigningConfig
		NextMarker         string `json:",omitempty"`
	}
	out.CodeSigningConfigs, out.NextMarker = cut(p, items, func(config *signing.Config) string { return config.ARN }, signingConfig)
	return c.json(http.StatusOK, out)
}

// signedAfter are the functions that have a configuration, in the order of names, after one.
func (c *call) signedAfter(arn, after string) func(func(*function.Entry) bool) {
	return func(yield func(*function.Entry) bool) {
		for _, e := range c.s.view.All() {
			if e.Record.CodeSigningARN == arn && e.Record.Region == c.region && e.Record.Name > after && !yield(e) {
				return
			}
		}
	}
}

// ListFunctionsByCodeSigningConfig: GET
// /2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions?Marker=&MaxItems= -> 200. Supported.
func (c *call) listFunctionsByCodeSigningConfig() error {
	config, err := c.readSigning(nil)
	if err != nil {
		return err
	}
	var v violations
	p, err := c.readPage(&v, "signed/"+config.ARN)
	if err != nil {
		return err
	}
	var out struct {
		FunctionArns []function.ARN
		NextMarker   string `json:",omitempty"`
	}
	out.FunctionArns, out.NextMarker = cut(p, c.signedAfter(config.ARN, p.after), func(e *function.Entry) string { return e.Record.Name },
		func(e *function.Entry) function.ARN { return e.Record.ARN() })
	return c.json(http.StatusOK, out)
}
