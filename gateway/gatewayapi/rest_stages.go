package gatewayapi

import (
	"encoding/json"
	"slices"
	"strings"

	"thaw/gateway"
)

// restStage is a Stage of apigateway.
type restStage struct {
	Deployment  string                   `json:"deploymentId"`
	Certificate string                   `json:"clientCertificateId,omitempty"`
	Name        string                   `json:"stageName"`
	Description string                   `json:"description,omitempty"`
	Cached      bool                     `json:"cacheClusterEnabled"`
	CacheSize   string                   `json:"cacheClusterSize,omitempty"`
	CacheStatus string                   `json:"cacheClusterStatus"`
	Methods     map[string]methodSetting `json:"methodSettings"`
	Variables   map[string]string        `json:"variables,omitempty"`
	Docs        string                   `json:"documentationVersion,omitempty"`
	AccessLog   *accessLog               `json:"accessLogSettings,omitempty"`
	Canary      json.RawMessage          `json:"canarySettings,omitempty"`
	Tracing     bool                     `json:"tracingEnabled"`
	Tags        map[string]string        `json:"tags,omitempty"`
	Created     epoch                    `json:"createdDate"`
	Updated     epoch                    `json:"lastUpdatedDate"`
}

// methodSetting is what a stage says of a method, or of all: */*.
type methodSetting struct {
	Metrics     bool    `json:"metricsEnabled"`
	Level       string  `json:"loggingLevel,omitempty"`
	Data        bool    `json:"dataTraceEnabled"`
	Burst       int     `json:"throttlingBurstLimit"`
	Rate        float64 `json:"throttlingRateLimit"`
	Caching     bool    `json:"cachingEnabled"`
	CacheTTL    int     `json:"cacheTtlInSeconds"` // s
	CacheSealed bool    `json:"cacheDataEncrypted"`
	CacheAsked  bool    `json:"requireAuthorizationForCacheControl"`
	CacheHeader string  `json:"unauthorizedCacheControlHeaderStrategy,omitempty"`
}

// settingNames are the members of a method's setting as patches name them.
var settingNames = map[string]string{"metrics/enabled": "metricsEnabled", "logging/loglevel": "loggingLevel", "logging/dataTrace": "dataTraceEnabled",
	"throttling/burstLimit": "throttlingBurstLimit", "throttling/rateLimit": "throttlingRateLimit", "caching/enabled": "cachingEnabled",
	"caching/ttlInSeconds": "cacheTtlInSeconds", "caching/dataEncrypted": "cacheDataEncrypted",
	"caching/requireAuthorizationForCacheControl":    "requireAuthorizationForCacheControl",
	"caching/unauthorizedCacheControlHeaderStrategy": "unauthorizedCacheControlHeaderStrategy"}

// usualSetting is a setting that says nothing. Its throttle is the account's, which this server does not have: -1 is none.
var usualSetting = methodSetting{Level: "OFF", Burst: 5000, Rate: 10000, CacheTTL: 300, CacheAsked: true, CacheHeader: "SUCCEED_WITH_RESPONSE_HEADER"}

func viewRESTStage(st *gateway.Stage) restStage {
	v := restStage{Deployment: st.Deployment, Name: st.Name, Description: st.Description, CacheStatus: "NOT_AVAILABLE", Variables: st.Variables,
		Docs: st.Rest["documentationVersion"], Tracing: st.Tracing, Tags: st.Tags, Created: epoch(st.Created), Updated: epoch(st.Updated), Methods: map[string]methodSetting{}}
	kept(st.Rest["methodSettings"], &v.Methods)
	if st.AccessLog != nil {
		v.AccessLog = &accessLog{st.AccessLog.Destination, st.AccessLog.Format}
	}
	return v
}

func (v *restStage) apply(a *gateway.API, st *gateway.Stage) error {
	switch {
	case !stageRE.MatchString(v.Name) || v.Name == "$default":
		return badRequest("Stage name only allows a-zA-Z0-9_-")
	case a.Deployments[v.Deployment] == nil:
		return notFound("Invalid Deployment identifier specified")
	case v.Cached:
		return badRequest("Cache clusters are not there: let the function say what may be cached (Cache-Control), and put a cache in front of this server")
	case len(v.Canary) > 0 && string(v.Canary) != "null":
		return badRequest("Canaries are not there: give the function's alias two versions with weights, which is the same for those who call")
	case v.Certificate != "":
		return badRequest("Client certificates are not there: this server makes none")
	case v.AccessLog != nil && v.AccessLog.Destination != "" && v.AccessLog.Format == "":
		return badRequest("Access log format must be specified")
	}
	if err := validVariables(v.Variables); err != nil {
		return err
	}
	st.Deployment, st.Name, st.Description, st.Variables, st.Tracing, st.AccessLog = v.Deployment, v.Name, v.Description, v.Variables, v.Tracing, nil
	if l := v.AccessLog; l != nil && l.Destination != "" {
		if err := validLog(l.Destination); err != nil {
			return err
		}
		st.AccessLog = &gateway.AccessLog{Destination: l.Destination, Format: l.Format}
	}
	st.Rest, st.Logs, st.Throttles = map[string]string{"methodSettings": keep(v.Methods)}, nil, nil
	if v.Docs != "" {
		st.Rest["documentationVersion"] = v.Docs
	}
	for path, s := range v.Methods {
		if !known(s.Level, "OFF|ERROR|INFO") {
			return badRequest("Invalid logging level %s: it is OFF, ERROR or INFO", s.Level)
		}
		key := settingKey(path)
		put(&st.Logs, key, gateway.Logging{Level: s.Level, Data: s.Data, DetailedMetrics: s.Metrics})
		if s.Burst != usualSetting.Burst || s.Rate != usualSetting.Rate {
			put(&st.Throttles, key, gateway.Throttle{Rate: max(s.Rate, 0), Burst: max(s.Burst, 0)})
		}
	}
	return nil
}

// settingKey is the key of a route that a setting's path names: ~1orders/GET is GET /orders. Of */* it is empty.
func settingKey(path string) string {
	i := strings.LastIndexByte(path, '/')
	if path == "*/*" || i < 0 {
		return ""
	}
	resource := strings.ReplaceAll(path[:i], "~1", "/")
	return path[i+1:] + " /" + strings.TrimPrefix(resource, "/")
}

// addStage makes a stage of what was asked for.
func (c *call) addStage(a *gateway.API, v *restStage) (*gateway.Stage, error) {
	st := &gateway.Stage{Created: c.now(), Updated: c.now(), Tags: v.Tags}
	if a.Stages[v.Name] != nil {
		return nil, conflict("Stage already exists")
	}
	if len(a.Stages) >= mostStages {
		return nil, tooMany("stages", mostStages)
	}
	if err := v.apply(a, st); err != nil {
		return nil, err
	}
	a.Stages[st.Name] = st
	return st, nil
}

func (c *call) createRESTStage() (any, error) {
	v := restStage{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	var made *gateway.Stage
	_, err := c.change(func(a *gateway.API) (err error) {
		made, err = c.addStage(a, &v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return viewRESTStage(made), nil
}

func (c *call) getRESTStage() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	st, err := c.stage(a)
	if err != nil {
		return nil, err
	}
	return viewRESTStage(st), nil
}

// getRESTStages is the one list of apigateway without pages.
func (c *call) getRESTStages() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	out := embedded[restStage]{Item: []restStage{}}
	for _, st := range a.Stages {
		if d := c.query.Get("deploymentId"); d == "" || d == st.Deployment {
			out.Item = append(out.Item, viewRESTStage(st))
		}
	}
	slices.SortFunc(out.Item, func(a, b restStage) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *call) updateRESTStage() (any, error) {
	st, err := c.changeStage(func(a *gateway.API, st *gateway.Stage) error {
		v := viewRESTStage(st)
		if err := c.patch(&v, "deploymentId|description|variables|accessLogSettings|tracingEnabled|cacheClusterEnabled|cacheClusterSize|documentationVersion|clientCertificateId", v.setting); err != nil {
			return err
		}
		return v.apply(a, st)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTStage(st), nil
}

// setting takes a patch of what the stage says of methods: /~1orders/GET/throttling/rateLimit, or /*/*/....
func (v *restStage) setting(o *patchOperation, path []string) (bool, error) {
	raw := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
	n := len(raw)
	if path[0] == "canarySettings" && o.Op != "remove" {
		v.Canary = json.RawMessage("{}")
		return true, nil
	}
	if path[0] == "canarySettings" {
		return true, nil
	}
	if o.Op == "remove" && n > 1 && v.has(o.Path[1:]) {
		delete(v.Methods, o.Path[1:])
		return true, nil
	}
	if n < 4 {
		return false, nil
	}
	member, is := settingNames[raw[n-2]+"/"+raw[n-1]]
	if !is {
		return false, nil
	}
	key := strings.Join(raw[:n-2], "/")
	s, is := v.Methods[key]
	if !is {
		s = usualSetting
	}
	one := patchOperation{Op: o.Op, Path: "/" + member, Value: o.Value}
	if !stepInto(&s, member, &one) {
		return false, badRequest("Invalid patch path '%s' specified for op '%s', or its value '%s' does not belong there", o.Path, o.Op, o.value())
	}
	put(&v.Methods, key, s)
	return true, nil
}

func (v *restStage) has(key string) bool {
	_, is := v.Methods[key]
	return is
}

// flushCache has nothing to do: nothing is cached.
func (c *call) flushCache() (any, error) {
	a, err := c.api()
	if err == nil {
		_, err = c.stage(a)
	}
	return nil, err
}
