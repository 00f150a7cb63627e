package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Levels of the log of executions.
const (
	levelError = "ERROR"
	levelInfo  = "INFO"
)

// logExecution writes what became of a request for a REST API into the log of its stage, whose name is AWS's. With ERROR
// it is why a request failed, with INFO its way as well. Headers and bodies are written only where the stage traces data,
// and of headers none that proves who sends.
// Source: API Gateway Developer Guide, "Set up CloudWatch logging for REST APIs in API Gateway".
func (c *call) logExecution() {
	set, ok := c.stage.of.Logs[c.routeKey()]
	if !ok {
		set = c.stage.of.Logs[""]
	}
	if set.Level != levelInfo && set.Level != levelError || c.s.AccessLog == nil {
		return
	}
	var b strings.Builder
	say := func(format string, v ...any) { fmt.Fprintf(&b, "("+c.id+") "+format+"\n", v...) }
	if set.Level == levelInfo {
		say("Extended Request Id: %s", c.extendedID)
		say("Starting execution for request: %s", c.id)
		say("HTTP Method: %s, Resource Path: %s", c.r.Method, escaped(c.place.Path))
		if set.Data {
			c.sayData(say)
		}
		if c.integrationStatus != 0 {
			say("Received response. Status: %d, Integration latency: %s ms", c.integrationStatus, milliseconds(c.integrationTime))
		}
	}
	if c.errorType != "" {
		say("Execution failed: %s: %s", c.errorType, escaped(c.errorMessage))
	}
	if set.Level == levelInfo || c.status >= http.StatusBadRequest {
		say("Method completed with status: %d", c.status)
	}
	if b.Len() > 0 {
		to, at := c.s.lines("API-Gateway-Execution-Logs_"+c.place.API.ID+"/"+c.place.Stage.Name), c.s.Now()
		for line := range strings.Lines(b.String()) {
			to.Append(at, line)
		}
	}
}

// untold are headers that no log has.
var untold = []string{"Authorization", "Cookie", "X-Amz-Security-Token", "X-Api-Key"}

// maxTraced bounds what is written of a body in bytes. Source: the same: 1,024.
const maxTraced = 1024

// secrets are the headers of a request that prove who sends it, those that the route's authorizer looks at among them.
func (c *call) secrets() []string {
	list := untold
	if c.found == nil || c.found.authorizer == nil {
		return list
	}
	for _, source := range c.found.authorizer.sources() {
		if name, is := strings.CutPrefix(strings.TrimPrefix(source, "$"), "method.request.header."); is {
			list = append(slices.Clip(list), http.CanonicalHeaderKey(name))
		}
	}
	return list
}

func (c *call) sayData(say func(string, ...any)) {
	secrets := c.secrets()
	for _, name := range slices.Sorted(maps.Keys(c.r.Header)) {
		if value := strings.Join(c.r.Header[name], ", "); !slices.Contains(secrets, name) {
			say("Method request header: %s: %s", name, escaped(value))
		}
	}
	body := c.body
	if len(body) > maxTraced {
		body = body[:maxTraced]
	}
	say("Method request body: %s", escaped(strings.ToValidUTF8(string(body), "\ufffd")))
}
