package api

import (
	"net/http"

	"thaw/controlplane"
)

type publishVersionInput struct {
	CodeSha256  string
	Description *string
	RevisionId  string
	PublishTo   *string
}

func (in *publishVersionInput) check(v *violations) {
	v.text("description", in.Description, 0, 256, nil, "")
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
}

// PublishVersion: POST /2015-03-31/functions/{FunctionName}/versions -> 201.
//
// Supported: CodeSha256, Description, RevisionId; a publish without a change since the last one answers that version.
// Missing: PublishTo (capacity providers).
func (c *call) publishVersion() error {
	var in publishVersionInput
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	if _, err := c.entry(t); err != nil {
		return err
	}
	if in.PublishTo != nil {
		return publishTo
	}
	e, published, err := c.s.Plane.Publish(c.r.Context(), t.key,
		controlplane.Publication{CodeSHA256: in.CodeSha256, Description: in.Description, RevisionID: in.RevisionId})
	if err != nil {
		return absent(err, t.arn())
	}
	return c.json(http.StatusCreated, described(e.Record, published, e.Record.ARN().Version(published.Number)))
}

var publishTo = invalidParameter("PublishTo is supported for functions with a capacity provider only.")
