package api

import (
	"context"
	"strings"

	"thaw/controlplane"
)

// codeInput is where the code of a function comes from: the Code of CreateFunction and part of UpdateFunctionCode.
type codeInput struct {
	ZipFile         []byte
	S3Bucket        *string
	S3Key           *string
	S3ObjectVersion *string
	ImageUri        *string
}

// takeCode takes in the code of a request.
func (c *call) takeCode(ctx context.Context, in *codeInput) (*controlplane.Code, error) {
	version := ""
	if in.S3ObjectVersion != nil {
		version = *in.S3ObjectVersion
	}
	switch {
	case in.ZipFile != nil && (in.S3Bucket != nil || in.S3Key != nil || in.S3ObjectVersion != nil):
		return nil, invalidParameter("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case in.S3Bucket != nil && in.S3Key != nil:
		return c.s.Plane.TakeObject(ctx, controlplane.Object{Bucket: *in.S3Bucket, Key: *in.S3Key, Version: version})
	case in.ZipFile == nil:
		return nil, invalidParameter("Please provide a source for function code.")
	}
	c.body = nil // it holds the same bytes once more
	return c.s.Plane.TakeCode(ctx, in.ZipFile)
}

func (v *violations) architectures(list []string) {
	if list == nil {
		return
	}
	all := quoted("[" + strings.Join(list, ", ") + "]")
	if len(list) > 1 {
		v.add(all, "architectures", "Member must have length less than or equal to 1")
	} else if len(list) < 1 {
		v.add(all, "architectures", "Member must have length greater than or equal to 1")
	}
	for _, a := range list {
		if a != "x86_64" && a != "arm64" {
			v.add(all, "architectures", "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]")
			break
		}
	}
}
