package api

import (
	"net/http"
	"strconv"

	"thaw/function"
)

const publishedPattern = `(\$LATEST\.PUBLISHED|[0-9]+)`

var publishedRE = whole(publishedPattern)

type scalingConfig struct {
	MinExecutionEnvironments *int `json:",omitempty"`
	MaxExecutionEnvironments *int `json:",omitempty"`
}

type scalingInput struct{ FunctionScalingConfig *scalingConfig }

// scalingForm is the form of both operations: their qualifier is a published version's, and must be given.
type scalingForm struct {
	c    *call
	body *scalingInput // nil: none
}

func (f scalingForm) check(v *violations) {
	q, given := f.c.query("Qualifier")
	v.notNull("qualifier", !given)
	if given && !publishedRE.MatchString(q) {
		v.add(quoted(q), "qualifier", patternRule(publishedPattern))
	}
	if f.body == nil || f.body.FunctionScalingConfig == nil {
		return
	}
	v.number("functionScalingConfig.minExecutionEnvironments", f.body.FunctionScalingConfig.MinExecutionEnvironments, 0, 15000)
	v.number("functionScalingConfig.maxExecutionEnvironments", f.body.FunctionScalingConfig.MaxExecutionEnvironments, 0, 15000)
}

// scalingTarget reads the version of a request; $LATEST.PUBLISHED is the newest one.
func (c *call) scalingTarget(body *scalingInput) (*function.Entry, *function.VersionRecord, error) {
	ref, qualifier, err := c.checked(writeNames, scalingForm{c, body})
	if err != nil {
		return nil, nil, err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return nil, nil, err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return nil, nil, notFound(t.asNamed())
	}
	v := e.Version(t.qualifier.Number())
	if all := e.Versions(); t.qualifier == function.Latest+".PUBLISHED" && len(all) > 0 {
		v = all[len(all)-1]
	}
	if v == nil {
		return nil, nil, notFound(t.asNamed())
	}
	return e, v, nil
}

// PutFunctionScalingConfig: PUT /2025-11-30/functions/{FunctionName}/function-scaling-config?Qualifier= -> 202.
//
// Differs: it is kept, for every function, and has no effect.
func (c *call) putFunctionScalingConfig() error {
	var in scalingInput
	if err := c.decode(&in); err != nil {
		return err
	}
	e, v, err := c.scalingTarget(&in)
	if err != nil {
		return err
	}
	s := scalingConfig{}
	if in.FunctionScalingConfig != nil {
		s = *in.FunctionScalingConfig
	}
	if s.MinExecutionEnvironments != nil && s.MaxExecutionEnvironments != nil && *s.MinExecutionEnvironments > *s.MaxExecutionEnvironments {
		return invalidParameter("MinExecutionEnvironments %s is greater than MaxExecutionEnvironments %s.", strconv.Itoa(*s.MinExecutionEnvironments), strconv.Itoa(*s.MaxExecutionEnvironments))
	}
	_, err = c.s.Plane.Change(c.r.Context(), e.Record.Key, func(now *function.Entry, r *function.Record) error {
		if now.Version(v.Number.Int()) == nil {
			return function.ErrNotFound
		}
		if r.Scaling == nil {
			r.Scaling = map[function.VersionNumber]function.Scaling{}
		}
		r.Scaling[v.Number] = function.Scaling{Min: s.MinExecutionEnvironments, Max: s.MaxExecutionEnvironments}
		return nil
	})
	if err != nil {
		return absent(err, e.Record.ARN().Version(v.Number))
	}
	return c.json(http.StatusAccepted, struct{ FunctionState string }{v.Life.State()})
}

// GetFunctionScalingConfig: GET /2025-11-30/functions/{FunctionName}/function-scaling-config?Qualifier= -> 200. Supported.
func (c *call) getFunctionScalingConfig() error {
	e, v, err := c.scalingTarget(nil)
	if err != nil {
		return err
	}
	out := struct {
		FunctionArn                    function.ARN
		AppliedFunctionScalingConfig   *scalingConfig `json:",omitempty"`
		RequestedFunctionScalingConfig *scalingConfig `json:",omitempty"`
	}{FunctionArn: e.Record.ARN().Version(v.Number)}
	if s, ok := e.Record.Scaling[v.Number]; ok {
		kept := &scalingConfig{s.Min, s.Max}
		out.AppliedFunctionScalingConfig, out.RequestedFunctionScalingConfig = kept, kept
	}
	return c.json(http.StatusOK, out)
}
