package api

import (
	"net/http"

	"thaw/function"
)

// DeleteFunction: DELETE /2015-03-31/functions/{FunctionName}?Qualifier= -> 204.
//
// Supported: the function with all that belongs to it, or one version.
// Differs: environments finish the invocation they are in. Missing: nothing that exists here yet.
func (c *call) deleteFunction() error {
	t, err := c.read(readNames, nil)
	if err != nil {
		return err
	}
	switch t.qualifier.Kind() {
	case function.QualifierAlias:
		return invalidParameter("Deletion of aliases is not currently supported.")
	case function.QualifierNothing:
		return notFound(t.arn())
	case function.QualifierLatest:
		if t.qualifier != "" {
			return invalidParameter("$LATEST version cannot be deleted without deleting the function.")
		}
		err = c.s.Plane.Delete(c.r.Context(), t.key)
	case function.QualifierNumber:
		err = c.s.Plane.DeleteVersion(c.r.Context(), t.key, t.qualifier.Number())
	}
	if err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}
