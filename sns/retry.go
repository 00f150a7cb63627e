package sns

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Retries say how often a delivery is tried again, in four phases one after the other: at once, after the least delay, with
// a delay that grows, after the longest. Source: SNS Developer Guide, "Amazon SNS message delivery retries".
type Retries struct {
	Immediate, Least, Growing, Longest int // retries of each phase
	Min, Max                           time.Duration
	Growth                             string // linear, arithmetic, geometric, exponential
}

// forQueues is how queues of AWS and functions are tried: 100,015 times within 23 days.
var forQueues = Retries{Immediate: 3, Least: 2, Growing: 10, Longest: 100_000, Min: time.Second, Max: 20 * time.Second, Growth: "exponential"}

// Delay is how long to wait before a retry, the first being 0; false: there is none.
func (r *Retries) Delay(retry int) (time.Duration, bool) {
	switch {
	case retry < r.Immediate:
		return 0, true
	case retry < r.Immediate+r.Least:
		return r.Min, true
	case retry < r.Immediate+r.Least+r.Growing:
		return r.grow(retry - r.Immediate - r.Least), true
	case retry < r.Immediate+r.Least+r.Growing+r.Longest:
		return r.Max, true
	}
	return 0, false
}

// grow goes from Min to Max within the phase.
func (r *Retries) grow(step int) time.Duration {
	if r.Growing < 2 {
		return r.Min
	}
	low, high, x := r.Min.Seconds(), r.Max.Seconds(), float64(step)/float64(r.Growing-1)
	var s float64
	switch r.Growth {
	case "arithmetic": // the steps grow as 1, 2, 3
		s = low + (high-low)*x*(float64(step)+1)/float64(r.Growing)
	case "geometric":
		s = low * math.Pow(high/low, x)
	case "exponential": // delays double
		s = min(high, low*math.Pow(2, float64(step)))
	default:
		s = low + (high-low)*x
	}
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// delivery policy, as it is written. Source: API Reference, SetTopicAttributes and SetSubscriptionAttributes.
type (
	healthyRetries struct {
		MinDelayTarget     *int   `json:"minDelayTarget"`
		MaxDelayTarget     *int   `json:"maxDelayTarget"`
		NumRetries         *int   `json:"numRetries"`
		NumMaxDelayRetries *int   `json:"numMaxDelayRetries"`
		NumNoDelayRetries  *int   `json:"numNoDelayRetries"`
		NumMinDelayRetries *int   `json:"numMinDelayRetries"`
		BackoffFunction    string `json:"backoffFunction"`
	}
	throttle struct {
		MaxReceivesPerSecond *int `json:"maxReceivesPerSecond,omitempty"`
	}
	requests struct {
		HeaderContentType string `json:"headerContentType,omitempty"`
	}
	ofSubscription struct {
		HealthyRetryPolicy *healthyRetries `json:"healthyRetryPolicy,omitempty"`
		ThrottlePolicy     *throttle       `json:"throttlePolicy,omitempty"`
		RequestPolicy      *requests       `json:"requestPolicy,omitempty"`
	}
	ofHTTP struct {
		DefaultHealthyRetryPolicy    *healthyRetries `json:"defaultHealthyRetryPolicy,omitempty"`
		DisableSubscriptionOverrides bool            `json:"disableSubscriptionOverrides"`
		DefaultThrottlePolicy        *throttle       `json:"defaultThrottlePolicy,omitempty"`
		DefaultRequestPolicy         *requests       `json:"defaultRequestPolicy,omitempty"`
	}
	ofTopic struct {
		HTTP *ofHTTP `json:"http"`
	}
)

// usual is the policy of HTTP endpoints that nobody has said anything about.
func usual() *healthyRetries {
	n := func(i int) *int { return &i }
	return &healthyRetries{MinDelayTarget: n(20), MaxDelayTarget: n(20), NumRetries: n(3), NumMaxDelayRetries: n(0), NumNoDelayRetries: n(0),
		NumMinDelayRetries: n(0), BackoffFunction: "linear"}
}

const plainText = "text/plain; charset=UTF-8"

// policy is what is in force for one HTTP endpoint.
type policy struct {
	Retries
	ContentType string
	PerSecond   int // messages; 0: no limit
	healthy     *healthyRetries
}

// policyOf reads the policies of a topic and of a subscription, either may be empty.
func policyOf(topic, subscription string) (*policy, error) {
	var t ofTopic
	var s ofSubscription
	if err := readPolicy(topic, &t); err != nil {
		return nil, err
	}
	if err := readPolicy(subscription, &s); err != nil {
		return nil, err
	}
	if t.HTTP == nil {
		t.HTTP = &ofHTTP{}
	}
	healthy, limit, request := t.HTTP.DefaultHealthyRetryPolicy, t.HTTP.DefaultThrottlePolicy, t.HTTP.DefaultRequestPolicy
	if !t.HTTP.DisableSubscriptionOverrides {
		healthy, limit, request = orElse(s.HealthyRetryPolicy, healthy), orElse(s.ThrottlePolicy, limit), orElse(s.RequestPolicy, request)
	}
	p := &policy{ContentType: plainText, healthy: healthy.withDefaults()}
	if request != nil && request.HeaderContentType != "" {
		p.ContentType = request.HeaderContentType
	}
	if limit != nil && limit.MaxReceivesPerSecond != nil {
		if p.PerSecond = *limit.MaxReceivesPerSecond; p.PerSecond < 1 {
			return nil, fmt.Errorf("DeliveryPolicy: throttlePolicy.maxReceivesPerSecond must be 1 or greater")
		}
	}
	if err := p.healthy.check(); err != nil {
		return nil, err
	}
	p.Retries = p.healthy.retries()
	return p, nil
}

func orElse[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func readPolicy(text string, into any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("DeliveryPolicy: failed to parse JSON")
	}
	return nil
}

func (h *healthyRetries) withDefaults() *healthyRetries {
	all := usual()
	if h == nil {
		return all
	}
	for _, member := range []struct{ to, from **int }{{&all.MinDelayTarget, &h.MinDelayTarget}, {&all.MaxDelayTarget, &h.MaxDelayTarget},
		{&all.NumRetries, &h.NumRetries}, {&all.NumMaxDelayRetries, &h.NumMaxDelayRetries}, {&all.NumNoDelayRetries, &h.NumNoDelayRetries},
		{&all.NumMinDelayRetries, &h.NumMinDelayRetries}} {
		if *member.from != nil {
			*member.to = *member.from
		}
	}
	if h.BackoffFunction != "" {
		all.BackoffFunction = h.BackoffFunction
	}
	return all
}

func (h *healthyRetries) check() error {
	switch {
	case *h.MinDelayTarget < 1 || *h.MinDelayTarget > *h.MaxDelayTarget:
		return fmt.Errorf("DeliveryPolicy: healthyRetryPolicy.minDelayTarget must be at least 1 and at most maxDelayTarget")
	case *h.MaxDelayTarget > 3600:
		return fmt.Errorf("DeliveryPolicy: healthyRetryPolicy.maxDelayTarget must be less than or equal to 3600")
	case *h.NumRetries < 0 || *h.NumRetries > 100:
		return fmt.Errorf("DeliveryPolicy: healthyRetryPolicy.numRetries must be less than or equal to 100")
	case *h.NumNoDelayRetries < 0 || *h.NumMinDelayRetries < 0 || *h.NumMaxDelayRetries < 0:
		return fmt.Errorf("DeliveryPolicy: numbers of retries must be 0 or greater")
	case *h.NumNoDelayRetries+*h.NumMinDelayRetries+*h.NumMaxDelayRetries > *h.NumRetries:
		return fmt.Errorf("DeliveryPolicy: healthyRetryPolicy.numRetries must be greater than or equal to total of numMinDelayRetries, numNoDelayRetries and numMaxDelayRetries")
	}
	switch h.BackoffFunction {
	case "linear", "arithmetic", "geometric", "exponential":
		return nil
	}
	return fmt.Errorf("DeliveryPolicy: backoffFunction must be one of linear, arithmetic, geometric, exponential")
}

func (h *healthyRetries) retries() Retries {
	r := Retries{Immediate: *h.NumNoDelayRetries, Least: *h.NumMinDelayRetries, Longest: *h.NumMaxDelayRetries, Growth: h.BackoffFunction,
		Min: time.Duration(*h.MinDelayTarget) * time.Second, Max: time.Duration(*h.MaxDelayTarget) * time.Second}
	r.Growing = *h.NumRetries - r.Immediate - r.Least - r.Longest
	return r
}

// effective is the policy as GetTopicAttributes and GetSubscriptionAttributes show it.
func (p *policy) effective(ofATopic bool) string {
	limit := (*throttle)(nil)
	if p.PerSecond > 0 {
		limit = &throttle{&p.PerSecond}
	}
	var v any = ofSubscription{p.healthy, limit, &requests{p.ContentType}}
	if ofATopic {
		v = ofTopic{&ofHTTP{DefaultHealthyRetryPolicy: p.healthy, DefaultThrottlePolicy: limit, DefaultRequestPolicy: &requests{p.ContentType}}}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
