package api

import (
	"net/http"

	"thaw/function"
)

const runtimeVersionPattern = `arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}::runtime:.+`

var runtimeVersionRE = whole(runtimeVersionPattern)

type runtimeManagement struct {
	UpdateRuntimeOn   *string
	FunctionArn       function.ARN `json:",omitempty"`
	RuntimeVersionArn *string      `json:",omitempty"`
}

func (in *runtimeManagement) check(v *violations) {
	v.notNull("updateRuntimeOn", in.UpdateRuntimeOn == nil)
	v.oneOf("updateRuntimeOn", in.UpdateRuntimeOn, "Auto", "Manual", "FunctionUpdate")
	v.text("runtimeVersionArn", in.RuntimeVersionArn, 26, 2048, runtimeVersionRE, runtimeVersionPattern)
}

// GetRuntimeManagementConfig: GET /2021-07-20/functions/{FunctionName}/runtime-management-config?Qualifier= -> 200. Supported.
func (c *call) getRuntimeManagementConfig() error {
	e, v, t, err := c.lookup()
	if err != nil {
		return err
	}
	on := "Auto"
	out := runtimeManagement{UpdateRuntimeOn: &on, FunctionArn: t.asNamed()}
	if u, ok := e.Record.RuntimeUpdates[v.Number]; ok {
		out.UpdateRuntimeOn = &u.On
		if u.RuntimeVersionARN != "" {
			out.RuntimeVersionArn = &u.RuntimeVersionARN
		}
	}
	return c.json(http.StatusOK, out)
}

// PutRuntimeManagementConfig: PUT /2021-07-20/functions/{FunctionName}/runtime-management-config?Qualifier= -> 200.
//
// Differs: it is kept and has no effect, runtimes change with the server.
func (c *call) putRuntimeManagementConfig() error {
	var in runtimeManagement
	t, err := c.read(readNames, &in)
	if err != nil {
		return err
	}
	manual := *in.UpdateRuntimeOn == "Manual"
	if manual != (in.RuntimeVersionArn != nil) {
		return invalidParameter("RuntimeVersionArn is required when UpdateRuntimeOn is Manual, and is not supported otherwise.")
	}
	_, err = c.s.Plane.Change(c.r.Context(), t.key, func(e *function.Entry, r *function.Record) error {
		v := e.Named(t.qualifier)
		if v == nil {
			return function.ErrNotFound
		}
		if r.RuntimeUpdates == nil {
			r.RuntimeUpdates = map[function.VersionNumber]function.RuntimeUpdates{}
		}
		r.RuntimeUpdates[v.Number] = function.RuntimeUpdates{On: *in.UpdateRuntimeOn, RuntimeVersionARN: text(in.RuntimeVersionArn)}
		return nil
	})
	if err != nil {
		return absent(err, t.asNamed())
	}
	in.FunctionArn = t.asNamed()
	return c.json(http.StatusOK, in)
}
