package api

import (
	"net/http"

	"thaw/function"
)

// GetFunction: GET /2015-03-31/functions/{FunctionName}?Qualifier= -> 200.
//
// Supported: everything of zip functions. Code.Location is a URL of this server (code_download.go).
// Missing: images.
func (c *call) getFunction() error {
	e, v, t, err := c.lookup()
	if err != nil {
		return err
	}
	type code struct{ RepositoryType, Location string }
	type concurrency struct{ ReservedConcurrentExecutions int }
	out := struct {
		Configuration *functionConfiguration
		Code          code
		Tags          map[string]string `json:",omitempty"`
		Concurrency   *concurrency      `json:",omitempty"`
	}{
		Configuration: c.s.long(e, v, t.asNamed()),
		Code:          code{"S3", c.codeLocation(v.Config.CodeSHA256)},
		Tags:          e.Record.Tags,
	}
	if n := e.Record.Reserved; n != nil {
		out.Concurrency = &concurrency{*n}
	}
	return c.json(http.StatusOK, out)
}

// GetFunctionConfiguration: GET /2015-03-31/functions/{FunctionName}/configuration?Qualifier= -> 200. Supported.
func (c *call) getFunctionConfiguration() error {
	e, v, t, err := c.lookup()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.s.long(e, v, t.asNamed()))
}

// lookup finds the function and version that a reading operation names.
func (c *call) lookup() (*function.Entry, *function.VersionRecord, target, error) {
	t, err := c.read(readNames, nil)
	if err != nil {
		return nil, nil, t, err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return nil, nil, t, notFound(t.asNamed())
	}
	v := e.Named(t.qualifier)
	if v == nil {
		return nil, nil, t, notFound(t.asNamed())
	}
	return e, v, t, nil
}
