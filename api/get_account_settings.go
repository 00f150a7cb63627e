package api

import (
	"net/http"

	"thaw/function"
)

// GetAccountSettings: GET /2016-08-19/account-settings -> 200. Supported.
//
// Differs: concurrency is counted over all regions of the server; the limits of code size are AWS's, ours is the disk.
func (c *call) getAccountSettings() error {
	type limit struct {
		TotalCodeSize                  int64
		CodeSizeUnzipped               int64
		CodeSizeZipped                 int64
		ConcurrentExecutions           int
		UnreservedConcurrentExecutions int
	}
	type usage struct {
		TotalCodeSize int64
		FunctionCount int
	}
	var u usage
	for _, e := range c.s.view.All() {
		if e.Record.Region != c.region {
			continue
		}
		u.FunctionCount++
		u.TotalCodeSize += e.Record.Latest.Config.CodeSize
		for _, v := range e.Versions() {
			u.TotalCodeSize += v.Config.CodeSize
		}
	}
	for _, r := range c.s.Plane.Layers.All() {
		for _, v := range r.Versions {
			if r.Region == c.region {
				u.TotalCodeSize += v.Size
			}
		}
	}
	return c.json(http.StatusOK, struct {
		AccountLimit limit
		AccountUsage usage
	}{
		limit{function.MaxCodeStorage, function.MaxUnzippedBytes, function.MaxZippedBytes, c.s.Plane.Concurrency, c.s.Plane.Concurrency - c.s.view.Reserved()},
		u,
	})
}
