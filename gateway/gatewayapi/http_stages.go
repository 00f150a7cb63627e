package gatewayapi

import (
	"maps"
	"regexp"
	"time"

	"thaw/gateway"
)

// httpStage is a Stage of apigatewayv2.
type httpStage struct {
	AccessLog   *accessLog               `json:"accessLogSettings,omitempty"`
	Managed     bool                     `json:"apiGatewayManaged,omitempty"`
	Auto        bool                     `json:"autoDeploy,omitempty"`
	Certificate string                   `json:"clientCertificateId,omitempty"`
	Created     *time.Time               `json:"createdDate,omitempty"`
	Default     *routeSettings           `json:"defaultRouteSettings,omitempty"`
	Deployment  string                   `json:"deploymentId,omitempty"`
	Description string                   `json:"description,omitempty"`
	Message     string                   `json:"lastDeploymentStatusMessage,omitempty"`
	Updated     *time.Time               `json:"lastUpdatedDate,omitempty"`
	Routes      map[string]routeSettings `json:"routeSettings"`
	Name        string                   `json:"stageName"`
	Variables   map[string]string        `json:"stageVariables"`
	Tags        map[string]string        `json:"tags"`
}

type accessLog struct {
	Destination string `json:"destinationArn,omitempty"`
	Format      string `json:"format,omitempty"`
}

type routeSettings struct {
	Data     bool     `json:"dataTraceEnabled,omitempty"`
	Detailed bool     `json:"detailedMetricsEnabled"`
	Level    string   `json:"loggingLevel,omitempty"`
	Burst    *int     `json:"throttlingBurstLimit,omitempty"`
	Rate     *float64 `json:"throttlingRateLimit,omitempty"`
}

func viewSettings(st *gateway.Stage, key string) routeSettings {
	l := st.Logs[key]
	v := routeSettings{Data: l.Data, Detailed: l.DetailedMetrics, Level: l.Level}
	if t, is := st.Throttles[key]; is {
		v.Burst, v.Rate = &t.Burst, &t.Rate
	}
	return v
}

func viewStage(st *gateway.Stage) httpStage {
	v := httpStage{Managed: st.Managed, Auto: st.Auto, Certificate: st.Rest["clientCertificateId"], Created: &st.Created, Deployment: st.Deployment,
		Description: st.Description, Message: st.Message, Updated: &st.Updated, Name: st.Name, Variables: maps.Clone(st.Variables), Tags: st.Tags,
		Routes: map[string]routeSettings{}}
	if v.Variables == nil {
		v.Variables = map[string]string{}
	}
	if v.Tags == nil {
		v.Tags = map[string]string{}
	}
	if st.AccessLog != nil {
		v.AccessLog = &accessLog{st.AccessLog.Destination, st.AccessLog.Format}
	}
	d := viewSettings(st, "")
	v.Default = &d
	for key := range st.Logs {
		if key != "" {
			v.Routes[key] = viewSettings(st, key)
		}
	}
	return v
}

var stageRE = regexp.MustCompile(`^(\$default|[A-Za-z0-9_-]{1,128})$`)

func (v *httpStage) apply(a *gateway.API, st *gateway.Stage) error {
	switch {
	case !stageRE.MatchString(v.Name) || v.Name == "$default" && a.Kind == gateway.WebSocket:
		return badRequest("Stage name only allows a-zA-Z0-9_-, or $default of HTTP APIs")
	case v.Deployment != "" && a.Deployments[v.Deployment] == nil:
		return noSuch("Deployment", v.Deployment)
	case v.Certificate != "":
		return badRequest("Client certificates are not there: this server makes none")
	case v.AccessLog != nil && (v.AccessLog.Destination == "") != (v.AccessLog.Format == ""):
		return badRequest("Both destination ARN and format must be specified for access logs")
	}
	maps.DeleteFunc(v.Variables, func(_, value string) bool { return value == "" }) // that is how one is removed
	if err := validVariables(v.Variables); err != nil {
		return err
	}
	st.Name, st.Description, st.Auto, st.Deployment, st.Variables, st.AccessLog = v.Name, v.Description, v.Auto, v.Deployment, v.Variables, nil
	if l := v.AccessLog; l != nil && l.Destination != "" {
		if err := validLog(l.Destination); err != nil {
			return err
		}
		st.AccessLog = &gateway.AccessLog{Destination: l.Destination, Format: l.Format}
	}
	st.Logs, st.Throttles = nil, nil
	all := maps.Clone(v.Routes)
	if v.Default != nil {
		put(&all, "", *v.Default)
	}
	for key, s := range all {
		if err := s.apply(a, st, key); err != nil {
			return err
		}
	}
	return nil
}

func (s *routeSettings) apply(a *gateway.API, st *gateway.Stage, key string) error {
	found := key == ""
	for _, r := range a.Draft.Routes {
		found = found || r.Key == key
	}
	switch {
	case !found:
		return notFound("Unable to find Route by key %s within the provided RouteSettings", key)
	case s.Level != "" && !known(s.Level, "OFF|ERROR|INFO"):
		return badRequest("Invalid logging level %s: it is OFF, ERROR or INFO", s.Level)
	case a.Kind == gateway.HTTP && (s.Data || known(s.Level, "ERROR|INFO")):
		return badRequest("Execution logs are not supported on protocolType HTTP")
	case s.Burst != nil && *s.Burst < 0 || s.Rate != nil && *s.Rate < 0:
		return badRequest("Throttling limits are not negative")
	}
	put(&st.Logs, key, gateway.Logging{Level: s.Level, Data: s.Data, DetailedMetrics: s.Detailed})
	if s.Burst == nil && s.Rate == nil {
		return nil
	}
	t := gateway.Throttle{}
	if s.Burst != nil {
		t.Burst = *s.Burst
	}
	if s.Rate != nil {
		t.Rate = *s.Rate
	}
	put(&st.Throttles, key, t)
	return nil
}

var (
	variableRE = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	valueRE    = regexp.MustCompile(`^[A-Za-z0-9\-._~:/?#&=,%@+$!*'()\[\] {}"]*$`)
	logRE      = regexp.MustCompile(`^arn:[a-z-]+:(logs:[a-z0-9-]*:\d{12}:log-group:[\w./#-]+(:\*)?|firehose:[a-z0-9-]+:\d{12}:deliverystream/amazon-apigateway-.+)$`)
)

// validVariables judges stage variables. Source: Developer Guide, "Use stage variables".
func validVariables(variables map[string]string) error {
	for name, value := range variables {
		if !variableRE.MatchString(name) || len(name) > 64 {
			return badRequest("Stage variable name %q only allows alphanumeric characters and underscores, 64 at most", name)
		}
		if len(value) > 2048 || !valueRE.MatchString(value) {
			return badRequest("Stage variable %q has characters in its value that are not allowed, or more than 2048", name)
		}
	}
	return nil
}

func validLog(destination string) error {
	switch {
	case !logRE.MatchString(destination):
		return badRequest("Invalid ARN specified for access logs: %s is not that of a log group", destination)
	case regexp.MustCompile(`^arn:[a-z-]+:firehose:`).MatchString(destination):
		return badRequest("Access logs go to a log group here, not to Firehose: arn:aws:logs:REGION:ACCOUNT:log-group:NAME")
	}
	return nil
}

func (c *call) createStage() (any, error) {
	st := &gateway.Stage{Created: c.now(), Updated: c.now()}
	_, err := c.change(func(a *gateway.API) error {
		v := httpStage{Routes: map[string]routeSettings{}}
		if err := c.read(&v); err != nil {
			return err
		}
		if err := v.apply(a, st); err != nil {
			return err
		}
		if a.Stages[st.Name] != nil {
			return conflict("Stage already exists")
		}
		if len(a.Stages) >= mostStages {
			return tooMany("stages", mostStages)
		}
		if st.Auto && v.Deployment != "" {
			return badRequest("Deployment ID cannot be set when autoDeploy is true")
		}
		st.Tags = v.Tags
		a.Stages[st.Name] = st
		return c.first(a, st)
	})
	if err != nil {
		return nil, err
	}
	return viewStage(st), nil
}

// first deploys to a stage that is to have each change, when it is new or begins to.
func (c *call) first(a *gateway.API, st *gateway.Stage) error {
	if !st.Auto || len(a.Draft.Routes) == 0 {
		return nil
	}
	return c.deployAuto(a)
}

func (c *call) stage(a *gateway.API) (*gateway.Stage, error) {
	name := or(c.vars["stageName"], c.vars["stage_name"])
	if st := a.Stages[name]; st != nil {
		return st, nil
	}
	return nil, errNoStage
}

func (c *call) getStage() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	st, err := c.stage(a)
	if err != nil {
		return nil, err
	}
	return viewStage(st), nil
}

func (c *call) getStages() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Stages, viewStage)
}

// changeStage changes one.
func (c *call) changeStage(f func(a *gateway.API, st *gateway.Stage) error) (*gateway.Stage, error) {
	var made *gateway.Stage
	_, err := c.change(func(a *gateway.API) error {
		st, err := c.stage(a)
		if err != nil {
			return err
		}
		made, st.Updated = st, c.now()
		if err := f(a, st); err != nil {
			return err
		}
		forgetUnserved(a)
		return nil
	})
	return made, err
}

func (c *call) updateStage() (any, error) {
	st, err := c.changeStage(func(a *gateway.API, st *gateway.Stage) error {
		v, name, auto, was := viewStage(st), st.Name, st.Auto, st.Deployment
		if err := c.over(&v, &v.Default, &v.AccessLog); err != nil {
			return err
		}
		v.Name = name
		if err := v.apply(a, st); err != nil {
			return err
		}
		if st.Auto && st.Deployment != was {
			return badRequest("Deployment ID cannot be set when autoDeploy is true")
		}
		if st.Auto && !auto {
			return c.first(a, st)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewStage(st), nil
}

func (c *call) deleteStage() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		st, err := c.stage(a)
		if err != nil {
			return err
		}
		if name := c.mappedBy(a.ID, st.Name); name != "" {
			return conflict("Stage %s is served by the domain name %s: delete its mapping first", st.Name, name)
		}
		delete(a.Stages, st.Name)
		forgetUnserved(a)
		return nil
	})
	return nil, err
}

func (c *call) deleteRouteSettings() (any, error) {
	_, err := c.changeStage(func(_ *gateway.API, st *gateway.Stage) error {
		key := c.vars["routeKey"]
		if _, is := st.Logs[key]; !is || key == "" {
			return notFound("Unable to find Route by key %s within the provided RouteSettings", key)
		}
		delete(st.Logs, key)
		delete(st.Throttles, key)
		return nil
	})
	return nil, err
}

func (c *call) deleteAccessLog() (any, error) {
	_, err := c.changeStage(func(_ *gateway.API, st *gateway.Stage) error {
		st.AccessLog = nil
		return nil
	})
	return nil, err
}

// resetAuthorizers makes whoever serves the stage forget what authorizers said.
func (c *call) resetAuthorizers() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	st, err := c.stage(a)
	if err != nil {
		return nil, err
	}
	c.s.o.Forget(a.ID, st.Name)
	return nil, nil
}
