package gateway

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// variable is $context.NAME of a request; ok is false where it has no such thing.
// Sources: API Gateway Developer Guide, "Variables for access logging", "Customize HTTP API access logs".
func (c *call) variable(name string) (value string, ok bool) {
	if v, ok := strings.CutPrefix(name, "authorizer."); ok {
		return c.authorizerVariable(v)
	}
	if v, ok := strings.CutPrefix(name, "identity."); ok {
		return c.identityVariable(v)
	}
	if v, ok := c.outcomeVariable(name); ok {
		return v, true
	}
	p := c.place
	text := ""
	switch name {
	case "accountId":
		text = p.API.Account
	case "apiId":
		text = p.API.ID
	case "awsEndpointRequestId", "extendedRequestId":
		text = c.extendedID
	case "requestId":
		text = c.id
	case "customDomain.basePathMatched":
		if !p.Custom {
			return "", false
		}
		text = strings.TrimPrefix(p.Base, "/")
	case "dataProcessed":
		text = strconv.Itoa(len(c.body) + c.length)
	case "deploymentId":
		text = p.Stage.Deployment
	case "domainName":
		text = p.Domain
	case "domainPrefix":
		text = p.Prefix
	case "httpMethod":
		text = c.r.Method
	case "path":
		text = p.Base + p.Path
	case "protocol":
		text = c.r.Proto
	case "requestTime":
		text = c.began.UTC().Format("02/Jan/2006:15:04:05 +0000")
	case "requestTimeEpoch":
		text = strconv.FormatInt(c.began.UnixMilli(), 10)
		if !c.isREST() {
			text = strconv.FormatInt(c.began.Unix(), 10)
		}
	case "stage":
		text = p.Stage.Name
	case "xrayTraceId":
		text = c.traceID
	case "isCanaryRequest":
		text = "false"
	default:
		return c.routeVariable(name)
	}
	return text, text != ""
}

func (c *call) routeVariable(name string) (string, bool) {
	if c.found == nil {
		return "", false
	}
	switch name {
	case "routeKey":
		return c.found.Key, true
	case "resourcePath":
		return c.found.path, c.found.path != ""
	case "resourceId":
		return c.found.Resource, c.found.Resource != ""
	case "operationName":
		return c.found.Operation, c.found.Operation != ""
	}
	return "", false
}

func (c *call) outcomeVariable(name string) (text string, ok bool) {
	o := &c.outcome
	switch name {
	case "status":
		return strconv.Itoa(o.status), true
	case "responseLength":
		return strconv.Itoa(o.length), true
	case "responseLatency":
		return milliseconds(c.s.Now().Sub(c.began)), true
	case "error.message", "error.messageString":
		if o.shownError == "" {
			return "", false
		}
		if name == "error.messageString" {
			b, err := json.Marshal(o.shownError)
			return string(b), err == nil
		}
		return o.shownError, true
	case "error.responseType":
		return o.errorType, o.errorType != ""
	case "error.validationErrorString", "integrationErrorMessage", "integration.error":
		if name == "error.validationErrorString" {
			return o.errorMessage, o.errorType == string(BadBody) || o.errorType == string(BadParameters)
		}
		return o.integrationError, o.integrationError != ""
	case "integrationStatus", "integration.integrationStatus", "integration.status":
		return strconv.Itoa(o.integrationStatus), o.integrationStatus != 0
	case "integrationLatency", "integration.latency":
		return milliseconds(o.integrationTime), o.integrationBegan
	case "integration.requestId", "awsEndpointRequestId.integration":
		return o.integrationID, o.integrationID != ""
	case "authorize.status", "authenticate.status", "authorizer.status":
		return strconv.Itoa(o.authorizerStatus), o.authorizerStatus != 0
	case "authorize.latency", "authenticate.latency":
		return milliseconds(o.authorizerTime), o.authorizerStatus != 0
	case "authorize.error", "authenticate.error":
		return o.authorizerError, o.authorizerError != ""
	}
	return "", false
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (c *call) authorizerVariable(name string) (string, bool) {
	o := &c.outcome
	switch name {
	case "error":
		return o.authorizerError, o.authorizerError != ""
	case "latency", "integrationLatency":
		return milliseconds(o.authorizerTime), o.authorizerStatus != 0
	case "status", "integrationStatus":
		return strconv.Itoa(o.authorizerStatus), o.authorizerStatus != 0
	case "principalId":
		return c.who.Principal, c.who.Principal != ""
	}
	if claim, ok := strings.CutPrefix(name, "claims."); ok {
		v, ok := c.who.Claims[claim]
		return claimText(v), ok
	}
	if v, ok := c.who.Context[name]; ok {
		return claimText(v), true
	}
	return "", false
}

func (c *call) identityVariable(name string) (string, bool) {
	text := ""
	switch name {
	case "sourceIp":
		text = SourceIP(c.r)
	case "userAgent":
		text = c.r.UserAgent()
	case "apiKey":
		if c.key != nil {
			text = c.key.Value
		}
	case "apiKeyId":
		if c.key != nil {
			text = c.key.ID
		}
	default:
		if cert, ok := strings.CutPrefix(name, "clientCert."); ok {
			return c.certVariable(cert)
		}
		k := c.who.Caller
		if k == nil {
			return "", false
		}
		switch name {
		case "accessKey":
			text = c.who.AccessKey
		case "accountId":
			text = k.Account
		case "caller", "user":
			text = k.ID
		case "userArn":
			text = k.ARN
		case "principalOrgId":
			text = k.Organization
		}
	}
	return text, text != ""
}

func (c *call) certVariable(name string) (string, bool) {
	cert := ClientCert(c.r)
	if cert == nil {
		return "", false
	}
	v, ok := map[string]string{"clientCertPem": cert.PEM, "subjectDN": cert.Subject, "issuerDN": cert.Issuer, "serialNumber": cert.Serial,
		"validity.notBefore": cert.Validity.NotBefore, "validity.notAfter": cert.Validity.NotAfter}[name]
	return v, ok
}

// claimText is a value of a claim or of an authorizer's context as text. A list is [a b], as AWS writes it.
func claimText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = claimText(e)
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// contextAll is $context as an object.
func (c *call) contextAll() map[string]any {
	out := map[string]any{}
	put := func(at map[string]any, key, name string) {
		if v, ok := c.variable(name); ok {
			at[key] = v
		}
	}
	for _, name := range []string{"accountId", "apiId", "domainName", "domainPrefix", "extendedRequestId", "httpMethod",
		"path", "protocol", "requestId", "requestTime",
		"requestTimeEpoch", "resourceId", "resourcePath", "stage", "xrayTraceId", "deploymentId"} {
		put(out, name, name)
	}
	identity := map[string]any{}
	for _, name := range []string{"sourceIp", "userAgent", "apiKey", "apiKeyId", "accessKey", "accountId", "caller", "user", "userArn"} {
		put(identity, name, "identity."+name)
	}
	out["identity"] = identity
	who := map[string]any{}
	for k, v := range c.who.Context {
		who[k] = v
	}
	if c.who.Claims != nil {
		who["claims"] = c.who.Claims
	}
	if c.who.Principal != "" {
		who["principalId"] = c.who.Principal
	}
	if len(who) > 0 {
		out["authorizer"] = who
	}
	return out
}

// expression is the value of a parameter mapping of a REST API's answers: 'static', context.NAME, stageVariables.NAME,
// method.request.header.NAME.
func (c *call) expression(e string) (string, bool) {
	if len(e) > 1 && e[0] == '\'' && e[len(e)-1] == '\'' {
		return e[1 : len(e)-1], true
	}
	if name, ok := strings.CutPrefix(e, "context."); ok {
		return c.variable(name)
	}
	if name, ok := strings.CutPrefix(e, "stageVariables."); ok {
		v, ok := c.place.Stage.Variables[name]
		return v, ok
	}
	return c.requestValue(e)
}

// requestValue reads method.request.KIND.NAME, and request.KIND.NAME as integrations of HTTP APIs write it.
func (c *call) requestValue(e string) (string, bool) {
	e = strings.TrimPrefix(strings.TrimPrefix(e, "method."), "request.")
	kind, name, _ := strings.Cut(e, ".")
	switch kind {
	case "header", "multivalueheader":
		v := c.r.Header.Values(name)
		if strings.EqualFold(name, "host") {
			v = []string{c.host()}
		}
		if len(v) == 0 {
			return "", false
		}
		if c.isREST() && kind == "header" {
			return v[len(v)-1], true
		}
		return strings.Join(v, ","), true
	case "querystring", "multivaluequerystring":
		v := c.r.URL.Query()[name]
		if len(v) == 0 {
			return "", false
		}
		if c.isREST() && kind == "querystring" {
			return v[len(v)-1], true
		}
		return strings.Join(v, ","), true
	case "path":
		if name == "" {
			return c.place.Path, true
		}
		if c.found == nil { // a gateway response, where there is no route
			return "", false
		}
		v, ok := c.found.params[name]
		return v, ok
	case "body":
		return c.bodyValue(name)
	}
	return "", false
}

// bodyValue is a member of a JSON body, a.b.c; empty: the body itself.
func (c *call) bodyValue(path string) (string, bool) {
	if path == "" {
		return string(c.body), true
	}
	return jsonValue(c.body, path)
}

func jsonValue(body []byte, path string) (string, bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return "", false
	}
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		if v, ok = m[part]; !ok {
			return "", false
		}
	}
	return claimText(v), true
}

// expand fills in $context.NAME and $stageVariables.NAME. It is no VTL: gateway responses know nothing more.
func (c *call) expand(template string) string {
	return expandNames(template, func(name string) (string, bool) {
		if v, ok := strings.CutPrefix(name, "context."); ok {
			text, _ := c.variable(v)
			return text, true
		}
		if v, ok := strings.CutPrefix(name, "stageVariables."); ok {
			return c.place.Stage.Variables[v], true
		}
		return "", false
	})
}

// expandNames replaces $NAME and ${NAME} where value knows them.
func expandNames(s string, value func(string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "$")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after := nameAt(rest)
		if v, ok := value(name); ok {
			b.WriteString(v)
			s = after
			continue
		}
		b.WriteByte('$')
		s = rest
	}
}

// nameAt reads a name of a variable, in braces or not.
func nameAt(s string) (name, rest string) {
	if in, ok := strings.CutPrefix(s, "{"); ok {
		if name, rest, ok := strings.Cut(in, "}"); ok {
			return name, rest
		}
		return "", s
	}
	i := 0
	for i < len(s) && (s[i] == '.' || s[i] == '_' || s[i] == '-' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	name = strings.TrimRight(s[:i], ".-")
	return name, s[len(name):]
}
