package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/controlplane"
	"thaw/function"
)

// functionURLConfig is what the operations answer. Which of the optional members are there is the operation's: C-111.
type functionURLConfig struct {
	FunctionUrl      string
	FunctionArn      function.ARN
	AuthType         string
	Cors             *function.CORS `json:",omitempty"`
	CreationTime     string
	LastModifiedTime string `json:",omitempty"`
	InvokeMode       string `json:",omitempty"`
}

// urlTime is how the times of a URL are written. Source: C, 1.3.
func urlTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// shownURL has all members that a URL has, InvokeMode only when it was ever said.
func (c *call) shownURL(unqualified function.ARN, region string, q function.Qualifier, u function.URL) functionURLConfig {
	return functionURLConfig{FunctionUrl: c.s.URLs.of(u.ID, region), FunctionArn: unqualified.Qualified(q), AuthType: u.AuthType, Cors: u.CORS,
		CreationTime: urlTime(u.Created), LastModifiedTime: urlTime(u.Modified), InvokeMode: u.InvokeMode}
}

// read is shownURL for the operations that read: they say the default, too.
func (u functionURLConfig) read() functionURLConfig {
	if u.InvokeMode == "" {
		u.InvokeMode = function.URLBuffered
	}
	return u
}

// functionURLInput is the body of the operations that write.
type functionURLInput struct {
	AuthType, InvokeMode *string
	Cors                 *function.CORS

	create bool
}

func (in *functionURLInput) check(v *violations) {
	v.notNull("authType", in.create && in.AuthType == nil)
	v.oneOf("authType", in.AuthType, function.URLOpen, function.URLSigned)
	v.oneOf("invokeMode", in.InvokeMode, function.URLStream, function.URLBuffered)
	if c := in.Cors; c != nil {
		v.number("cors.maxAge", c.MaxAge, 0, 86400)
		v.texts("cors.allowHeaders", c.AllowHeaders, 100, 1024)
		v.texts("cors.allowMethods", c.AllowMethods, 6, 6)
		v.texts("cors.allowOrigins", c.AllowOrigins, 100, 253)
		v.texts("cors.exposeHeaders", c.ExposeHeaders, 100, 1024)
	}
}

// texts checks a list of texts of 1 to maxLen characters.
func (v *violations) texts(member string, list []string, most, maxLen int) {
	v.listSize(member, list, most)
	long := func(s string) bool { return s == "" || utf8.RuneCountInString(s) > maxLen }
	if slices.ContainsFunc(list, long) {
		v.add(quoted("["+strings.Join(list, ", ")+"]"), member, fmt.Sprintf("Member must satisfy constraint: "+
			"[Member must have length less than or equal to %d, Member must have length greater than or equal to 1]", maxLen))
	}
}

func (in *functionURLInput) settings() controlplane.URLSettings {
	return controlplane.URLSettings{AuthType: in.AuthType, InvokeMode: in.InvokeMode, CORS: in.Cors}
}

var (
	errNoURL         = fail("ResourceNotFoundException", "The resource you requested does not exist.")
	errNoURLFunction = fail("ResourceNotFoundException", "Function does not exist")
)

// CreateFunctionUrlConfig: POST /2021-10-31/functions/{FunctionName}/url?Qualifier= -> 201. Supported.
func (c *call) createFunctionURLConfig() error {
	in := functionURLInput{create: true}
	out, err := c.writeURL(&in, c.s.Plane.CreateURL)
	if err != nil {
		return err
	}
	out.LastModifiedTime = ""
	return c.json(http.StatusCreated, out)
}

// UpdateFunctionUrlConfig: PUT, the same path -> 200. Supported: it merges.
func (c *call) updateFunctionURLConfig() error {
	out, err := c.writeURL(&functionURLInput{}, c.s.Plane.UpdateURL)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

func (c *call) writeURL(in *functionURLInput, write urlWriter) (functionURLConfig, error) {
	t, err := c.read(urlNames, in)
	if err != nil {
		return functionURLConfig{}, err
	}
	u, err := write(c.r.Context(), t.key, t.qualifier, in.settings())
	if errors.Is(err, function.ErrNotFound) {
		err = errNoURLFunction
	}
	return c.shownURL(t.arn(), t.key.Region, t.qualifier, u), err
}

// GetFunctionUrlConfig: GET, the same path -> 200. Supported.
func (c *call) getFunctionURLConfig() error {
	t, err := c.read(urlNames, nil)
	if err != nil {
		return err
	}
	if e := c.s.view.Get(t.key); e != nil {
		if u, there := e.Record.URLs[t.qualifier]; there {
			return c.json(http.StatusOK, c.shownURL(t.arn(), t.key.Region, t.qualifier, u).read())
		}
	}
	return errNoURL
}

// DeleteFunctionUrlConfig: DELETE, the same path -> 204. Supported.
func (c *call) deleteFunctionURLConfig() error {
	t, err := c.read(urlNames, nil)
	if err != nil {
		return err
	}
	if err := c.s.Plane.DeleteURL(c.r.Context(), t.key, t.qualifier); errors.Is(err, function.ErrNotFound) {
		return errNoURL
	} else if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// ListFunctionUrlConfigs: GET /2021-10-31/functions/{FunctionName}/urls?Marker=&MaxItems= -> 200. Supported: by qualifier.
func (c *call) listFunctionURLConfigs() error {
	p, e, err := c.readList("urls")
	if known := (*Error)(nil); errors.As(err, &known) && e == nil && known.Code == "ResourceNotFoundException" {
		return errNoURLFunction
	}
	if err != nil {
		return err
	}
	// The key of an item is its ARN: the qualifier of the first may be empty, which would be no marker.
	arn := func(q function.Qualifier) string { return string(e.Record.ARN().Qualified(q)) }
	items := func(yield func(function.Qualifier) bool) {
		for _, q := range slices.Sorted(maps.Keys(e.Record.URLs)) {
			if arn(q) > p.after && !yield(q) {
				return
			}
		}
	}
	var out struct {
		FunctionUrlConfigs []functionURLConfig
		NextMarker         string `json:",omitempty"`
	}
	out.FunctionUrlConfigs, out.NextMarker = cut(p, items, arn, func(q function.Qualifier) functionURLConfig {
		return c.shownURL(e.Record.ARN(), e.Record.Region, q, e.Record.URLs[q]).read()
	})
	return c.json(http.StatusOK, out)
}
