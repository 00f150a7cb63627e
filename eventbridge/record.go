package eventbridge

import (
	"encoding/json"
	"strings"
	"time"
)

// Record is what is kept: a bus or a rule. Members may be added, never renamed.
type Record struct {
	Bus  *Bus  `json:",omitempty"`
	Rule *Rule `json:",omitempty"`
}

// Bus is an event bus. The default one has a record only if something was said of it.
type Bus struct {
	Region, Name      string
	Description       string            `json:",omitempty"`
	KMSKey            string            `json:",omitempty"`
	DeadLetter        string            `json:",omitempty"`
	LogConfig         json.RawMessage   `json:",omitempty"`
	Policy            json.RawMessage   `json:",omitempty"`
	Tags              map[string]string `json:",omitempty"`
	Created, Modified time.Time
}

// Rule is a rule of a bus.
type Rule struct {
	Region, Bus, Name string
	Pattern           string            `json:",omitempty"`
	Schedule          string            `json:",omitempty"`
	State             string            // ENABLED ...
	Description       string            `json:",omitempty"`
	Role              string            `json:",omitempty"`
	Tags              map[string]string `json:",omitempty"`
	Targets           []Target          `json:",omitempty"`
	CreatedBy         string
	// From is since when the schedule counts: when it was set, or the rule enabled.
	From time.Time
}

func (r *Rule) enabled() bool { return r.State != disabled }

const disabled = "DISABLED"

// Target is where a rule sends to; its members are those of requests.
type Target struct {
	ID               string       `json:"Id"`
	ARN              string       `json:"Arn"`
	RoleARN          string       `json:"RoleArn,omitempty"`
	Input            *string      `json:",omitempty"`
	InputPath        *string      `json:",omitempty"`
	InputTransformer *Transformer `json:",omitempty"`
	SQS              *struct {
		GroupID string `json:"MessageGroupId,omitempty"`
	} `json:"SqsParameters,omitempty"`
	DeadLetter *deadLetter  `json:"DeadLetterConfig,omitempty"`
	Retry      *RetryPolicy `json:"RetryPolicy,omitempty"`
}

type deadLetter struct {
	ARN string `json:"Arn,omitempty"`
}

// RetryPolicy says how often and how long a target is tried.
type RetryPolicy struct {
	Attempts *int `json:"MaximumRetryAttempts,omitempty"`
	Age      *int `json:"MaximumEventAgeInSeconds,omitempty"`
}

// Transformer makes an input of parts of the event.
type Transformer struct {
	Paths    map[string]string `json:"InputPathsMap,omitempty"`
	Template string            `json:"InputTemplate"`
}

// defaultBus is the bus that each region has.
const defaultBus = "default"

// busKey names a bus. Neither part has a space.
type busKey struct{ region, name string }

func (k busKey) document() string { return "bus " + k.region + " " + k.name }

func (k busKey) rule(name string) string { return "rule " + k.region + " " + k.name + " " + name }

func (r *Rule) bus() busKey { return busKey{r.Region, r.Bus} }

func (s *Server) busARN(k busKey) string {
	return "arn:aws:events:" + k.region + ":" + s.o.AccountID + ":event-bus/" + k.name
}

func (s *Server) ruleARN(r *Rule) string { return s.ruleARNOf(r.bus(), r.Name) }

// ruleARNOf is the ARN of a rule. Those of the default bus do not name it.
func (s *Server) ruleARNOf(k busKey, name string) string {
	path := name
	if k.name != defaultBus {
		path = k.name + "/" + name
	}
	return "arn:aws:events:" + k.region + ":" + s.o.AccountID + ":rule/" + path
}

// parsedARN is what an ARN of EventBridge names.
type parsedARN struct {
	region, account, kind, path string
}

func parseARN(s string) (a parsedARN, ok bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] != "events" {
		return a, false
	}
	a.region, a.account = p[3], p[4]
	a.kind, a.path, ok = strings.Cut(p[5], "/")
	return a, ok
}
