package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Refusal is an answer that an API gives itself. It is an error of this package.
type Refusal struct {
	Kind    RefusalKind
	Message string            // empty: the kind's own
	Header  map[string]string // beside the kind's
	Why     string            // for the log and $context.error.messageString: nothing secret
}

// Error implements error.
func (r *Refusal) Error() string { return string(r.Kind) + ": " + r.Why }

// RefusalKind is a response type, as gateway responses name them.
type RefusalKind string

// The kinds of refusals. The last three are ours: REST APIs have DEFAULT_5XX alone for them.
const (
	AccessDenied            RefusalKind = "ACCESS_DENIED"
	APIConfiguration        RefusalKind = "API_CONFIGURATION_ERROR"
	AuthorizerConfig        RefusalKind = "AUTHORIZER_CONFIGURATION_ERROR"
	AuthorizerFailure       RefusalKind = "AUTHORIZER_FAILURE"
	BadParameters           RefusalKind = "BAD_REQUEST_PARAMETERS"
	BadBody                 RefusalKind = "BAD_REQUEST_BODY"
	ExpiredToken            RefusalKind = "EXPIRED_TOKEN" //nolint:gosec // a name
	IntegrationFailure      RefusalKind = "INTEGRATION_FAILURE"
	IntegrationTimeout      RefusalKind = "INTEGRATION_TIMEOUT"
	InvalidAPIKey           RefusalKind = "INVALID_API_KEY"
	InvalidSignature        RefusalKind = "INVALID_SIGNATURE"
	MissingToken            RefusalKind = "MISSING_AUTHENTICATION_TOKEN"
	QuotaExceeded           RefusalKind = "QUOTA_EXCEEDED"
	TooLarge                RefusalKind = "REQUEST_TOO_LARGE"
	ResourceNotFound        RefusalKind = "RESOURCE_NOT_FOUND"
	Throttled               RefusalKind = "THROTTLED"
	Unauthorized            RefusalKind = "UNAUTHORIZED"
	UnsupportedMedia        RefusalKind = "UNSUPPORTED_MEDIA_TYPE"
	Forbidden               RefusalKind = "FORBIDDEN"
	BadAnswer               RefusalKind = "BAD_ANSWER"
	FunctionFailed          RefusalKind = "FUNCTION_FAILED"
	explicitDenyMessage                 = "User is not authorized to access this resource with an explicit deny"
	noAllowMessage                      = "User is not authorized to access this resource"
	internalServerErrorREST             = "Internal server error"
)

// saying is how a kind leaves a REST API (status, exception, message) and an HTTP API.
type saying struct {
	status       int
	exception    string
	message      string // null where it is "null"
	httpStatus   int
	httpMessage  string
	upperMessage bool // its member is Message
}

// sayings are what AWS answers. Sources: API Gateway Developer Guide, "Gateway response types for API Gateway"; answers
// recorded from it.
var sayings = map[RefusalKind]saying{
	AccessDenied:       {403, "AccessDeniedException", explicitDenyMessage, 403, "Forbidden", true},
	APIConfiguration:   {500, "InternalServerErrorException", internalServerErrorREST, 500, "Internal Server Error", false},
	AuthorizerConfig:   {500, "AuthorizerConfigurationException", "null", 500, "Internal Server Error", false},
	AuthorizerFailure:  {500, "AuthorizerConfigurationException", "null", 500, "Internal Server Error", false},
	BadParameters:      {400, "BadRequestException", "Invalid request parameters", 400, "Bad Request", false},
	BadBody:            {400, "BadRequestException", "Invalid request body", 400, "Bad Request", false},
	ExpiredToken:       {403, "ExpiredTokenException", "The security token included in the request is expired", 403, "Forbidden", false},
	IntegrationFailure: {504, "InternalServerErrorException", "Network error communicating with endpoint", 503, "Service Unavailable", false},
	IntegrationTimeout: {504, "InternalServerErrorException", "Endpoint request timed out", 503, "Service Unavailable", false},
	InvalidAPIKey:      {403, "ForbiddenException", "Forbidden", 403, "Forbidden", false},
	InvalidSignature:   {403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.", 403, "Forbidden", false},
	MissingToken:       {403, "MissingAuthenticationTokenException", "Missing Authentication Token", 403, "Forbidden", false},
	QuotaExceeded:      {429, "LimitExceededException", "Limit Exceeded", 429, "Limit Exceeded", false},
	TooLarge:           {413, "RequestTooLargeException", "Request Too Long", 413, "Request Entity Too Large", false},
	ResourceNotFound:   {403, "MissingAuthenticationTokenException", "Missing Authentication Token", 404, "Not Found", false},
	Throttled:          {429, "TooManyRequestsException", "Too Many Requests", 429, "Too Many Requests", false},
	Unauthorized:       {401, "UnauthorizedException", "Unauthorized", 401, "Unauthorized", false},
	UnsupportedMedia:   {415, "BadRequestException", "Unsupported Media Type", 415, "Unsupported Media Type", false},
	Forbidden:          {403, "ForbiddenException", "Forbidden", 403, "Forbidden", false},
	BadAnswer:          {502, "InternalServerErrorException", internalServerErrorREST, 500, "Internal Server Error", false},
	FunctionFailed:     {500, "InternalServerErrorException", internalServerErrorREST, 500, "Internal Server Error", false},
}

// refuse answers with a refusal. A body that was not read is swallowed, unless its sender waits to be asked for it.
func (c *call) refuse(r *Refusal) {
	if c.body == nil && c.r.ContentLength != 0 && c.r.Header.Get("Expect") == "" {
		c.swallow()
	}
	say := sayings[r.Kind]
	c.errorType, c.errorMessage = string(r.Kind), r.Why
	status, message := say.httpStatus, say.httpMessage
	h := c.w.Header()
	if c.isREST() {
		status, message = say.status, say.message
		h["X-Amzn-Errortype"] = []string{say.exception}
	}
	if r.Message != "" && (c.isREST() || r.Kind != AccessDenied) { // HTTP APIs do not say why
		message = r.Message
	}
	c.shownError = message
	for k, v := range r.Header {
		h.Set(k, v)
	}
	if c.isREST() && c.refuseOwnWay(r.Kind, status, message) {
		return
	}
	key := "message"
	if say.upperMessage && c.isREST() {
		key = "Message"
	}
	c.answer(status, map[string][]string{"Content-Type": jsonType}, messageBody(key, message))
}

var jsonType = []string{"application/json"}

func messageBody(key, message string) []byte {
	if message == "null" {
		return []byte(`{"` + key + `":null}`)
	}
	b, err := json.Marshal(map[string]string{key: message})
	if err != nil {
		return []byte("{}")
	}
	return b
}

// writeMessage answers where no API does.
func writeMessage(w http.ResponseWriter, status int, message string) {
	b := messageBody("message", message)
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // nobody to tell
}

// responseType is a kind's name among gateway responses.
func responseType(kind RefusalKind) string {
	switch kind {
	case Forbidden:
		return "INVALID_API_KEY"
	case ResourceNotFound:
		return "MISSING_AUTHENTICATION_TOKEN"
	case BadAnswer, FunctionFailed:
		return "API_CONFIGURATION_ERROR"
	}
	return string(kind)
}

// refuseOwnWay answers by the gateway response of a REST API, when it has one for the kind or for all of its class.
func (c *call) refuseOwnWay(kind RefusalKind, status int, message string) bool {
	answers := c.stage.def.Answers
	a := answers[responseType(kind)]
	if a == nil {
		a = answers["DEFAULT_"+strconv.Itoa(status/100)+"XX"]
	}
	if a == nil {
		return false
	}
	if n, err := strconv.Atoi(a.Status); err == nil && n >= 200 && n <= 599 {
		status = n
	}
	header := map[string][]string{"Content-Type": jsonType}
	for _, name := range slices.Sorted(maps.Keys(a.Parameters)) {
		to, ok := strings.CutPrefix(name, "gatewayresponse.header.")
		if !ok {
			continue
		}
		if v, ok := c.expression(a.Parameters[name]); ok && headerValue(v) {
			header[http.CanonicalHeaderKey(to)] = []string{v}
		}
	}
	body := messageBody("message", message)
	if t, ok := a.Templates["application/json"]; ok {
		body = []byte(c.expand(t))
	} else if len(a.Templates) > 0 {
		kind := slices.Sorted(maps.Keys(a.Templates))[0]
		header["Content-Type"], body = []string{kind}, []byte(c.expand(a.Templates[kind]))
	}
	c.answer(status, header, body)
	return true
}

// headerValue says whether a value can be that of a header.
func headerValue(v string) bool {
	for i := range len(v) {
		if b := v[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
