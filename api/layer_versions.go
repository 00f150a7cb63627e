package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"

	"thaw/controlplane"
	"thaw/layer"
)

type publishLayerInput struct {
	Content *struct {
		ZipFile                          []byte
		S3Bucket, S3Key, S3ObjectVersion *string
	}
	Description, LicenseInfo                    *string
	CompatibleRuntimes, CompatibleArchitectures []string
}

func (in *publishLayerInput) check(v *violations) {
	v.notNull("content", in.Content == nil)
	v.text("description", in.Description, 0, 256, nil, "")
	v.text("licenseInfo", in.LicenseInfo, 0, 512, nil, "")
	v.listSize("compatibleRuntimes", in.CompatibleRuntimes, 15)
	if slices.ContainsFunc(in.CompatibleRuntimes, func(r string) bool { return !controlplane.RuntimeName(r) }) {
		v.add(quoted("["+strings.Join(in.CompatibleRuntimes, ", ")+"]"), "compatibleRuntimes", "Member must satisfy enum value set: ["+controlplane.RuntimeNames()+"]")
	}
	v.enumList("compatibleArchitectures", in.CompatibleArchitectures, 2, "x86_64", "arm64")
}

// PublishLayerVersion: POST /2018-10-31/layers/{LayerName}/versions -> 201.
// Supported: zip inline, and from S3 as CreateFunction.
func (c *call) publishLayerVersion() error {
	var in publishLayerInput
	t, err := c.readLayer(&in)
	if err != nil {
		return err
	}
	code := &codeInput{ZipFile: in.Content.ZipFile, S3Bucket: in.Content.S3Bucket, S3Key: in.Content.S3Key, S3ObjectVersion: in.Content.S3ObjectVersion}
	n := controlplane.NewLayer{Key: t.Key, Partition: t.partition, Runtimes: in.CompatibleRuntimes, Architectures: in.CompatibleArchitectures,
		Code: func(ctx context.Context) (*controlplane.Code, error) { return c.takeCode(ctx, code) }}
	if in.Description != nil {
		n.Description = *in.Description
	}
	if in.LicenseInfo != nil {
		n.License = *in.LicenseInfo
	}
	r, v, err := c.s.Plane.PublishLayer(c.r.Context(), n)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, c.showLayer(r, v))
}

// GetLayerVersion: GET /2018-10-31/layers/{LayerName}/versions/{VersionNumber} -> 200. Supported.
func (c *call) getLayerVersion() error {
	t, err := c.readLayerVersion(nil)
	if err != nil {
		return err
	}
	return c.answerLayer(t)
}

// GetLayerVersionByArn: GET /2018-10-31/layers?find=LayerVersion&Arn= -> 200. Supported.
func (c *call) getLayerVersionByArn() error {
	var v violations
	arn, given := c.query("Arn")
	v.notNull("arn", !given)
	if given {
		v.text("arn", &arn, 1, 2048, layerARNRE, layerARNPattern)
	}
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.layerTarget(arn)
	if err != nil {
		return err
	}
	return c.answerLayer(t)
}

func (c *call) answerLayer(t layerTarget) error {
	r, v, err := c.layerVersion(t, noResource)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.showLayer(r, v))
}

// DeleteLayerVersion: DELETE /2018-10-31/layers/{LayerName}/versions/{VersionNumber} -> 204, also when it is not there.
// Functions that have it keep it.
func (c *call) deleteLayerVersion() error {
	t, err := c.readLayerVersion(nil)
	if err != nil {
		return err
	}
	if err := c.s.Plane.DeleteLayer(c.r.Context(), t.Key, t.number); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// layerFilter is what the lists of layers can be asked for.
type layerFilter struct{ runtime, architecture string }

func (c *call) readLayerFilter(v *violations) (f layerFilter) {
	if s, ok := c.query("CompatibleRuntime"); ok {
		if f.runtime = s; !controlplane.RuntimeName(s) {
			v.add(quoted(s), "compatibleRuntime", "Member must satisfy enum value set: ["+controlplane.RuntimeNames()+"]")
		}
	}
	if s, ok := c.query("CompatibleArchitecture"); ok {
		f.architecture = s
		v.oneOf("compatibleArchitecture", &s, "x86_64", "arm64")
	}
	return f
}

// newest are the versions of a layer that a filter finds, newest first.
func (f layerFilter) newest(r *layer.Record) iter.Seq[*layer.Version] {
	return func(yield func(*layer.Version) bool) {
		for i := len(r.Versions) - 1; i >= 0; i-- {
			if v := &r.Versions[i]; v.For(f.runtime, f.architecture) && !yield(v) {
				return
			}
		}
	}
}
