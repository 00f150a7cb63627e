// Package gateway is API Gateway in front of functions: HTTP APIs, REST APIs and WebSocket APIs.
//
// What an operation makes is a record (API), and what a deployment serves is a copy of its Definition at that time. The
// operations are in gatewayapi; here requests are served: a stage is found by host or path, a route by its key, the
// sender is judged, and the function runs. One engine does so for all kinds.
//
// Source: API Gateway Developer Guide; docs/spec/event-sources.md, 12 to 14.
package gateway

import "time"

// Kind is what an API speaks.
type Kind string

// The kinds of APIs.
const (
	HTTP      Kind = "HTTP"      // payload formats 2.0 and 1.0
	REST      Kind = "REST"      // payload format 1.0
	WebSocket Kind = "WEBSOCKET" // events of connections
)

// API is one API with all that belongs to it, as it is stored: members may be added, never renamed. It is never changed
// in place: whoever serves it compares pointers to see that it was.
type API struct {
	ID              string // 10 lower-case letters and digits
	Kind            Kind
	Account, Region string
	Name            string
	Description     string `json:",omitempty"`
	Version         string `json:",omitempty"`
	Created         time.Time
	Tags            map[string]string `json:",omitempty"`
	// Disabled: it is not served under the host name of execute-api.
	Disabled      bool     `json:",omitempty"`
	EndpointTypes []string `json:",omitempty"` // REGIONAL; of REST
	IPAddressType string   `json:",omitempty"`
	APIKeySource  string   `json:",omitempty"` // HEADER, AUTHORIZER
	Policy        string   `json:",omitempty"` // JSON, of REST
	// MinCompression is the size in bytes from which a REST API compresses; nil: it does not.
	MinCompression *int `json:",omitempty"`
	// NoValidation is kept and shown (disableSchemaValidation of WebSocket APIs); what an import said is, too.
	NoValidation         *bool    `json:",omitempty"`
	ImportInfo, Warnings []string `json:",omitempty"`

	Draft       Definition // what the operations change
	Stages      map[string]*Stage
	Deployments map[string]*Deployment
}

// Definition is what is served.
type Definition struct {
	// RouteSelection picks the route: $request.method $request.path, or $request.body.action of a WebSocket API.
	RouteSelection string                  `json:",omitempty"`
	KeySelection   string                  `json:",omitempty"` // of API keys of WebSocket APIs
	CORS           *CORS                   `json:",omitempty"` // of HTTP APIs
	BinaryTypes    []string                `json:",omitempty"` // of REST APIs
	Resources      map[string]*Resource    `json:",omitempty"` // of REST APIs, by ID
	Routes         map[string]*Route       `json:",omitempty"` // by ID; of REST APIs the methods, by RESOURCE/METHOD
	Integrations   map[string]*Integration `json:",omitempty"` // by ID; of REST APIs by RESOURCE/METHOD
	Authorizers    map[string]*Authorizer  `json:",omitempty"` // by ID
	Validators     map[string]*Validator   `json:",omitempty"` // by ID
	Models         map[string]*Model       `json:",omitempty"` // by ID; of REST APIs by name
	// Answers are a REST API's own, by response type: DEFAULT_4XX, UNAUTHORIZED.
	Answers map[string]*Answer `json:",omitempty"`
}

// CORS is what an HTTP API tells browsers.
type CORS struct {
	Origins, Methods, Headers, ExposeHeaders []string
	Credentials                              bool
	MaxAge                                   int // s
}

// Resource is a node of a REST API's tree of paths.
type Resource struct {
	ID, Parent string // Parent of the root is empty
	Part       string // orders, {id}, {proxy+}; empty: the root
	Path       string // /orders/{id}
}

// Route is a way into an API: a route of an HTTP or WebSocket API, a method of a REST API's resource.
type Route struct {
	ID string
	// Key is "GET /orders/{id}", "ANY /{proxy+}" or "$default"; of WebSocket APIs also $connect, $disconnect and what the
	// selection gives; of REST APIs METHOD PATH.
	Key           string
	Resource      string   `json:",omitempty"` // ID, of REST APIs
	Authorization string   `json:",omitempty"` // NONE, JWT, CUSTOM, AWS_IAM, COGNITO_USER_POOLS
	Authorizer    string   `json:",omitempty"` // ID
	Scopes        []string `json:",omitempty"`
	NeedsKey      bool     `json:",omitempty"` // an API key
	Integration   string   `json:",omitempty"` // ID
	// Operation is its name in an SDK.
	Operation         string               `json:",omitempty"`
	Validator         string               `json:",omitempty"` // ID
	RequestModels     map[string]string    `json:",omitempty"` // by content type
	RequestParameters map[string]bool      `json:",omitempty"` // method.request.header.X -> required
	ModelSelection    string               `json:",omitempty"`
	ResponseSelection string               `json:",omitempty"` // of WebSocket routes: $default, where answers go back
	Responses         map[string]*Response `json:",omitempty"` // by status; of WebSocket routes by key
	// Managed: quick create made it; of integrations and stages, too.
	Managed bool `json:",omitempty"`
}

// Response is what a method may answer (REST), or a route response (WebSocket).
type Response struct {
	ID         string            `json:",omitempty"`
	Parameters map[string]bool   `json:",omitempty"`
	Models     map[string]string `json:",omitempty"`
	Selection  string            `json:",omitempty"`
}

// Integration is what is behind a route.
type Integration struct {
	ID      string
	Type    string // AWS_PROXY, AWS, HTTP_PROXY, HTTP, MOCK
	Subtype string `json:",omitempty"` // of AWS services behind HTTP APIs: kept, and answered in words
	Method  string `json:",omitempty"` // of the request to the backend
	// URI is the ARN of a function, arn:...:lambda:path/2015-03-31/functions/ARN/invocations, or a URL.
	URI            string                `json:",omitempty"`
	Description    string                `json:",omitempty"`
	PayloadVersion string                `json:",omitempty"` // 1.0, 2.0
	Timeout        int                   `json:",omitempty"` // ms; 0: the kind's own
	Credentials    string                `json:",omitempty"` // ARN of a role
	Connection     string                `json:",omitempty"` // INTERNET, VPC_LINK
	ConnectionID   string                `json:",omitempty"`
	Passthrough    string                `json:",omitempty"` // WHEN_NO_MATCH, WHEN_NO_TEMPLATES, NEVER
	Content        string                `json:",omitempty"` // CONVERT_TO_TEXT, CONVERT_TO_BINARY
	Templates      map[string]string     `json:",omitempty"` // VTL, of the request, by content type
	TemplateChoice string                `json:",omitempty"` // of WebSocket APIs
	Parameters     map[string]string     `json:",omitempty"` // of the request: what is set, to what it is taken from
	Responses      map[string]*Reshaping `json:",omitempty"` // by status, or key of a WebSocket API; of HTTP APIs parameters alone
	TLSServerName  string                `json:",omitempty"`
	InsecureTLS    bool                  `json:",omitempty"`
	CacheKeys      []string              `json:",omitempty"`
	CacheNamespace string                `json:",omitempty"`
	// Streams: a REST API sends what the function streams as it comes (responseTransferMode STREAM).
	Streams bool `json:",omitempty"`
	Managed bool `json:",omitempty"`
}

// Reshaping is what becomes of a backend's answer.
type Reshaping struct {
	ID         string            `json:",omitempty"`
	Status     string            `json:",omitempty"`
	Pattern    string            `json:",omitempty"` // a regular expression: of the error message of a function, the status of a URL
	Parameters map[string]string `json:",omitempty"`
	Templates  map[string]string `json:",omitempty"` // VTL, by content type
	Selection  string            `json:",omitempty"` // of WebSocket APIs
	Content    string            `json:",omitempty"`
}

// Authorizer judges senders.
type Authorizer struct {
	ID, Name string
	Type     string // JWT, REQUEST, TOKEN, COGNITO_USER_POOLS
	URI      string `json:",omitempty"` // of a function, as Integration.URI
	// Sources are where the identity is: $request.header.Authorization, or method.request.header.Auth of REST.
	Sources        []string `json:",omitempty"`
	Pattern        string   `json:",omitempty"` // of the token, of TOKEN
	TTL            int      // s; how long an answer is kept
	PayloadVersion string   `json:",omitempty"` // 1.0, 2.0
	Simple         bool     `json:",omitempty"` // it answers isAuthorized
	Issuer         string   `json:",omitempty"` // of JWT
	Audience       []string `json:",omitempty"`
	Providers      []string `json:",omitempty"` // ARNs of user pools
	Credentials    string   `json:",omitempty"`
	AuthType       string   `json:",omitempty"` // as it was given, of REST
}

// Validator says what of a request is held against its route.
type Validator struct {
	ID, Name         string
	Body, Parameters bool
}

// Model is a JSON schema of a body.
type Model struct{ ID, Name, ContentType, Description, Schema string }

// Answer is what a REST API says itself.
type Answer struct {
	Type       string
	Status     string            `json:",omitempty"`
	Parameters map[string]string `json:",omitempty"`
	Templates  map[string]string `json:",omitempty"`
}

// Deployment is a definition that does not change any more.
type Deployment struct {
	ID, Description string
	Created         time.Time
	Auto            bool `json:",omitempty"`
	Definition      Definition
}

// Stage is a deployment under a name.
type Stage struct {
	Name        string // $default, prod
	Description string `json:",omitempty"`
	Deployment  string // ID; empty: nothing is served
	// Auto: each change of the draft is deployed at once.
	Auto      bool              `json:",omitempty"`
	Variables map[string]string `json:",omitempty"`
	// Throttles by route key; "" is every route's.
	Throttles map[string]Throttle `json:",omitempty"`
	// Logs by route key, as the operations have them: level and whether data are traced. "" is every route's.
	Logs             map[string]Logging `json:",omitempty"`
	AccessLog        *AccessLog         `json:",omitempty"`
	Tracing          bool               `json:",omitempty"`
	Tags             map[string]string  `json:",omitempty"`
	Created, Updated time.Time
	Message          string            `json:",omitempty"` // of the last automatic deployment
	Rest             map[string]string `json:",omitempty"` // further settings that are kept and shown: cache, canary
	Managed          bool              `json:",omitempty"`
}

// Throttle bounds requests; zero: no bound.
type Throttle struct {
	Rate  float64 // per second
	Burst int
}

// Logging is what a stage's settings say of the log of executions.
type Logging struct {
	Level                 string `json:",omitempty"` // OFF, ERROR, INFO
	Data, DetailedMetrics bool
}

// AccessLog is one line per request.
type AccessLog struct{ Destination, Format string } // ARN of a log group

// APIKey is a sender's.
type APIKey struct {
	ID, Name, Value string
	Description     string `json:",omitempty"`
	Enabled         bool
	Created         time.Time
	Updated         time.Time
	StageKeys       []string          `json:",omitempty"`
	Tags            map[string]string `json:",omitempty"`
	CustomerID      string            `json:",omitempty"`
}

// Plan is a usage plan: how much keys may do, and where.
type Plan struct {
	ID, Name    string
	Description string            `json:",omitempty"`
	Stages      []PlanStage       `json:",omitempty"`
	Throttle    Throttle          // of each key
	Quota       *Quota            `json:",omitempty"`
	Keys        map[string]string `json:",omitempty"` // IDs of keys -> type: API_KEY
	Tags        map[string]string `json:",omitempty"`
	ProductCode string            `json:",omitempty"`
}

// PlanStage is a stage that a plan is for.
type PlanStage struct {
	API, Stage string
	Throttles  map[string]Throttle `json:",omitempty"` // by PATH/METHOD
}

// Quota bounds the requests of each key in a period.
type Quota struct {
	Limit, Offset int
	Period        string // DAY, WEEK, MONTH
}

// Domain is a name of the owner's under which stages are served.
type Domain struct {
	Name     string
	Created  time.Time
	Mappings map[string]Mapping // by ID
	Tags     map[string]string  `json:",omitempty"`
	Rest     map[string]string  `json:",omitempty"` // certificates and the like: kept and shown
}

// Mapping serves a stage below a path of a domain; empty: all of it.
type Mapping struct{ ID, Path, API, Stage string }

// Account is a stored record of what is shared by all APIs: exactly one member is set. Keys of records: key/ID, plan/ID,
// domain/NAME.
type Account struct {
	Key    *APIKey `json:",omitempty"`
	Plan   *Plan   `json:",omitempty"`
	Domain *Domain `json:",omitempty"`
	// Settings are those of all REST APIs, under the key account.
	Settings *Settings `json:",omitempty"`
}

// Settings of all REST APIs.
type Settings struct {
	LogRole string `json:",omitempty"` // the ARN with which AWS writes logs: kept and shown
}
