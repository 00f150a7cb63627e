package api

import (
	"strings"

	"thaw/function"
)

// codeInput is where the code of a function comes from: the Code of CreateFunction and part of UpdateFunctionCode.
type codeInput struct {
	ZipFile         []byte
	S3Bucket        *string
	S3Key           *string
	S3ObjectVersion *string
	ImageUri        *string
}

// takeCode checks and stores the code of a request and writes into config what it is. release as of keepCode.
func (c *call) takeCode(in *codeInput, config *function.Config) (release func(), err error) {
	switch {
	case in.S3Bucket != nil || in.S3Key != nil:
		return nil, notImplemented("Code from S3 (S3Bucket, S3Key): send the package itself as ZipFile;")
	case in.ZipFile == nil:
		return nil, invalidParameter("Please provide a source for function code.")
	case len(in.ZipFile) == 0:
		return nil, invalidParameter("Uploaded file must be a non-empty zip")
	case len(in.ZipFile) > function.MaxZippedBytes:
		return nil, fail("RequestEntityTooLargeException", "Zipped size must be smaller than %d bytes", function.MaxZippedBytes)
	}
	c.body = nil // it holds the same bytes once more
	hash, release, err := c.s.keepCode(c.r.Context(), in.ZipFile)
	if err != nil {
		return nil, err
	}
	config.CodeSHA256, config.CodeSize = hash, int64(len(in.ZipFile))
	return release, nil
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
