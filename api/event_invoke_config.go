package api

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"slices"

	"thaw/controlplane"
	"thaw/function"
)

type eventDestination struct {
	Destination *string `json:",omitempty"`
}

type eventDestinations struct{ OnSuccess, OnFailure *eventDestination }

// eventInvokeInput is the body of the operations that write.
type eventInvokeInput struct {
	MaximumRetryAttempts     *int
	MaximumEventAgeInSeconds *int
	DestinationConfig        *eventDestinations
}

const destinationPattern = `$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)`

var destinationRE = whole(destinationPattern)

func (in *eventInvokeInput) check(v *violations) {
	v.number("maximumRetryAttempts", in.MaximumRetryAttempts, 0, function.MaxRetryAttempts)
	v.number("maximumEventAgeInSeconds", in.MaximumEventAgeInSeconds, int(function.MinEventAge.Seconds()), int(function.MaxEventAge.Seconds()))
	if d := in.DestinationConfig; d != nil {
		if d.OnSuccess != nil {
			v.text("destinationConfig.onSuccess.destination", d.OnSuccess.Destination, 0, 350, destinationRE, destinationPattern)
		}
		if d.OnFailure != nil {
			v.text("destinationConfig.onFailure.destination", d.OnFailure.Destination, 0, 350, destinationRE, destinationPattern)
		}
	}
}

// into puts what was sent where it belongs; destinations come and go together.
func (in *eventInvokeInput) into(c *function.EventInvoke) {
	if in.MaximumRetryAttempts != nil {
		c.MaxRetries = in.MaximumRetryAttempts
	}
	if in.MaximumEventAgeInSeconds != nil {
		c.MaxAgeSeconds = in.MaximumEventAgeInSeconds
	}
	if d := in.DestinationConfig; d != nil {
		c.OnSuccess, c.OnFailure = "", ""
		if d.OnSuccess != nil && d.OnSuccess.Destination != nil {
			c.OnSuccess = *d.OnSuccess.Destination
		}
		if d.OnFailure != nil && d.OnFailure.Destination != nil {
			c.OnFailure = *d.OnFailure.Destination
		}
	}
}

// eventInvokeConfig is what the operations answer. DestinationConfig is always there. C-099.
type eventInvokeConfig struct {
	FunctionArn              function.ARN
	LastModified             float64 // Unix seconds
	MaximumRetryAttempts     *int    `json:",omitempty"`
	MaximumEventAgeInSeconds *int    `json:",omitempty"`
	DestinationConfig        struct{ OnSuccess, OnFailure eventDestination }
}

func shownEventInvoke(unqualified function.ARN, q function.Qualifier, c function.EventInvoke) eventInvokeConfig {
	if q == "" {
		q = function.Latest
	}
	out := eventInvokeConfig{FunctionArn: unqualified.Qualified(q), LastModified: float64(c.Modified.UnixMilli()) / 1000,
		MaximumRetryAttempts: c.MaxRetries, MaximumEventAgeInSeconds: c.MaxAgeSeconds}
	if c.OnSuccess != "" {
		out.DestinationConfig.OnSuccess.Destination = &c.OnSuccess
	}
	if c.OnFailure != "" {
		out.DestinationConfig.OnFailure.Destination = &c.OnFailure
	}
	return out
}

func noEventInvoke(t target) error {
	return fail("ResourceNotFoundException", "The function %s doesn't have an EventInvokeConfig", t.qualified())
}

var errNoFunction = fail("ResourceNotFoundException", "The function doesn't exist.")

// PutFunctionEventInvokeConfig: PUT /2019-09-25/functions/{FunctionName}/event-invoke-config?Qualifier= -> 200.
// Supported: it replaces.
func (c *call) putFunctionEventInvokeConfig() error { return c.writeEventInvoke(false) }

// UpdateFunctionEventInvokeConfig: POST, the same path -> 200. Supported: it merges.
func (c *call) updateFunctionEventInvokeConfig() error { return c.writeEventInvoke(true) }

func (c *call) writeEventInvoke(merge bool) error {
	var in eventInvokeInput
	t, err := c.read(readNames, &in)
	if err != nil {
		return err
	}
	if in == (eventInvokeInput{}) {
		return invalidParameter("You must specify at least one of error handling or destination setting.")
	}
	set, err := c.s.Plane.PutEventInvoke(c.r.Context(), t.key, t.qualifier, merge, in.into)
	var bad *controlplane.DestinationError
	switch {
	case errors.Is(err, function.ErrNotFound):
		return errNoFunction
	case errors.Is(err, controlplane.ErrNoEventInvoke):
		return noEventInvoke(t)
	case errors.As(err, &bad):
		return invalidParameter("%s", bad.Text)
	case err != nil:
		return err
	}
	return c.json(http.StatusOK, shownEventInvoke(t.arn(), t.qualifier, set))
}

// GetFunctionEventInvokeConfig: GET, the same path -> 200. Supported.
func (c *call) getFunctionEventInvokeConfig() error {
	t, err := c.read(readNames, nil)
	if err != nil {
		return err
	}
	if e := c.s.view.Get(t.key); e != nil {
		if set, ok := e.Record.EventInvoke[cmp.Or(t.qualifier, function.Latest)]; ok {
			return c.json(http.StatusOK, shownEventInvoke(t.arn(), t.qualifier, set))
		}
	}
	return noEventInvoke(t)
}

// DeleteFunctionEventInvokeConfig: DELETE, the same path -> 204. Supported.
func (c *call) deleteFunctionEventInvokeConfig() error {
	t, err := c.read(readNames, nil)
	if err != nil {
		return err
	}
	err = c.s.Plane.DeleteEventInvoke(c.r.Context(), t.key, t.qualifier)
	if errors.Is(err, function.ErrNotFound) || errors.Is(err, controlplane.ErrNoEventInvoke) {
		return noEventInvoke(t)
	}
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// ListFunctionEventInvokeConfigs: GET /2019-09-25/functions/{FunctionName}/event-invoke-config/list?Marker=&MaxItems=
// -> 200. Supported: by qualifier.
func (c *call) listFunctionEventInvokeConfigs() error {
	p, e, err := c.readList("event-invoke")
	if known := (*Error)(nil); errors.As(err, &known) && e == nil && known.Code == "ResourceNotFoundException" {
		return errNoFunction
	}
	if err != nil {
		return err
	}
	items := func(yield func(function.Qualifier) bool) {
		for _, q := range slices.Sorted(maps.Keys(e.Record.EventInvoke)) {
			if string(q) > p.after && !yield(q) {
				return
			}
		}
	}
	var out struct {
		FunctionEventInvokeConfigs []eventInvokeConfig
		NextMarker                 string `json:",omitempty"`
	}
	out.FunctionEventInvokeConfigs, out.NextMarker = cut(p, items, func(q function.Qualifier) string { return string(q) },
		func(q function.Qualifier) eventInvokeConfig {
			return shownEventInvoke(e.Record.ARN(), q, e.Record.EventInvoke[q])
		})
	return c.json(http.StatusOK, out)
}
