package api

import (
	"net/http"

	"thaw/controlplane"
)

type updateFunctionCodeInput struct {
	codeInput
	Publish       bool
	DryRun        bool
	RevisionId    string
	Architectures []string
	PublishTo     *string
}

func (in *updateFunctionCodeInput) check(v *violations) {
	v.architectures(in.Architectures)
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
}

// UpdateFunctionCode: PUT /2015-03-31/functions/{FunctionName}/code -> 200.
//
// Supported: zip inline and from S3, Publish, DryRun, RevisionId, Architectures.
// Missing (501): images, PublishTo.
func (c *call) updateFunctionCode() error {
	var in updateFunctionCodeInput
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	switch err := controlplane.CheckRevision(in.RevisionId, e.Record.Latest.RevisionID); {
	case err != nil:
		return err
	case in.ImageUri != nil:
		return invalidParameter("Please don't provide ImageUri when updating a function with packageType Zip.")
	case in.PublishTo != nil:
		return publishTo
	}
	code, err := c.takeCode(c.r.Context(), &in.codeInput)
	if err != nil {
		return err
	}
	defer code.Release()
	u := controlplane.Update{RevisionID: in.RevisionId, Publish: in.Publish, DryRun: in.DryRun}
	e, shown, err := c.s.Plane.UpdateCode(c.r.Context(), t.key, u, code, first(in.Architectures))
	if err != nil {
		return absent(err, t.arn())
	}
	arn := e.Record.ARN()
	if in.Publish && !in.DryRun {
		arn = arn.Version(shown.Number)
	}
	return c.json(http.StatusOK, described(e.Record, shown, arn))
}
