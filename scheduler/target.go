package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"thaw/courier"
	"thaw/internal/shape"
)

// universal begins the ARN of a target that is an operation of AWS's SDK.
const universal = "arn:aws:scheduler:::aws-sdk:"

func (t *Target) check(v *shape.Violations) {
	if t.DeadLetter != nil && t.DeadLetter.ARN != "" {
		v.Text("target.deadLetterConfig.arn", &t.DeadLetter.ARN, queueARN)
	}
	if t.Retry != nil {
		v.Number("target.retryPolicy.maximumRetryAttempts", t.Retry.Attempts, 0, 185)
		v.Number("target.retryPolicy.maximumEventAgeInSeconds", t.Retry.Age, 60, 86400)
	}
	if t.SQS != nil && t.SQS.GroupID != "" {
		v.Text("target.sqsParameters.messageGroupId", &t.SQS.GroupID, groupIDText)
	}
	if t.Bus != nil {
		v.Text("target.eventBridgeParameters.detailType", &t.Bus.DetailType, detailType)
		v.Text("target.eventBridgeParameters.source", &t.Bus.Source, sourceText)
	}
}

// policy is how often a target is tried again, and for how long.
func (t *Target) policy() (attempts int, age time.Duration) {
	attempts, age = 185, 24*time.Hour
	if p := t.Retry; p != nil && p.Attempts != nil {
		attempts = *p.Attempts
	}
	if p := t.Retry; p != nil && p.Age != nil {
		age = time.Duration(*p.Age) * time.Second
	}
	return attempts, age
}

// sound says what is wrong with a target, beyond its form.
func (s *Server) sound(t *Target) error {
	if operation, ok := strings.CutPrefix(t.ARN, universal); ok {
		if calls[operation] == nil {
			return invalid("aws-sdk:%s cannot be a target on this server: %s can.", operation, strings.Join(callNames(), ", "))
		}
		var in map[string]json.RawMessage
		if t.Input == nil || json.Unmarshal([]byte(*t.Input), &in) != nil {
			return invalid("Input must be the JSON of the request of aws-sdk:%s.", operation)
		}
		return nil
	}
	err := courier.Check(t.ARN, s.o.AccountID)
	queue, fifo := courier.IsQueue(t.ARN)
	bus := strings.Contains(t.ARN, ":event-bus/")
	switch {
	case errors.Is(err, courier.ErrARN):
		return invalid("Provided Arn is not in correct format.")
	case err != nil:
		return invalid("%v; %s, too.", err, strings.Join(callNames(), ", "))
	case strings.Contains(t.ARN, ":logs:"):
		return invalid("A log group cannot be the target of a schedule.")
	case bus && t.Bus == nil:
		return invalid("EventBridgeParameters must be given for a target that is an event bus.")
	case !bus && t.Bus != nil:
		return invalid("EventBridgeParameters are only for targets that are event buses.")
	case bus && strings.HasPrefix(t.Bus.Source, "aws."):
		return invalid("The source of an event must not begin with aws.")
	case queue && fifo && (t.SQS == nil || t.SQS.GroupID == ""):
		return invalid("SqsParameters with a MessageGroupId must be given for a FIFO queue.")
	case t.Input != nil && strings.Contains(t.ARN, ":lambda:") && !json.Valid([]byte(t.fill(placeholders{arn: "a", id: "a"}))):
		return invalid("Input must be valid JSON for a function.")
	}
	return nil
}

// placeholders are what an input may name. S-111.
type placeholders struct {
	arn, id string
	at      time.Time
}

// fill is a target's input with its placeholders replaced. Source: Scheduler User Guide, "Adding context attributes".
func (t *Target) fill(p placeholders) string {
	return strings.NewReplacer("<aws.scheduler.schedule-arn>", p.arn, "<aws.scheduler.scheduled-time>", p.at.UTC().Format(time.RFC3339),
		"<aws.scheduler.execution-id>", p.id, "<aws.scheduler.attempt-number>", "1").Replace(*t.Input)
}

// message is what a target gets: something for somebody, or events for buses.
type message struct {
	to, body string
	group    string
	events   []BusEvent
}

// calls are the operations of AWS's SDK that can be targets: what their request comes to.
var calls map[string]func(s *Server, region string, in []byte) (*message, error)

func init() {
	calls = map[string]func(*Server, string, []byte) (*message, error){
		"lambda:invoke":         (*Server).invoke,
		"sqs:sendMessage":       (*Server).sendMessage,
		"sns:publish":           (*Server).publish,
		"eventbridge:putEvents": (*Server).putEvents,
	}
}

func callNames() (names []string) {
	for name := range calls {
		names = append(names, universal+name)
	}
	slices.Sort(names)
	return names
}

func (s *Server) invoke(region string, input []byte) (*message, error) {
	var in struct {
		FunctionName, Qualifier string
		Payload                 json.RawMessage
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	if in.FunctionName == "" {
		return nil, errors.New("the request has no FunctionName")
	}
	to := in.FunctionName
	if !strings.HasPrefix(to, "arn:") {
		to = "arn:aws:lambda:" + region + ":" + s.o.AccountID + ":function:" + to
	}
	if in.Qualifier != "" {
		to += ":" + in.Qualifier
	}
	body := string(in.Payload)
	var text string
	if json.Unmarshal(in.Payload, &text) == nil { // a JSON text in a string, as SDKs have it
		body = text
	}
	if body == "" {
		body = "{}"
	}
	return &message{to: to, body: body}, nil
}

func (s *Server) sendMessage(region string, input []byte) (*message, error) {
	var in struct{ QueueURL, MessageBody, MessageGroupID string }
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	p := strings.Split(strings.TrimSuffix(in.QueueURL, "/"), "/")
	if len(p) < 2 || in.MessageBody == "" {
		return nil, errors.New("the request has no QueueUrl or no MessageBody")
	}
	return &message{to: fmt.Sprintf("arn:aws:sqs:%s:%s:%s", region, p[len(p)-2], p[len(p)-1]), body: in.MessageBody, group: in.MessageGroupID}, nil
}

func (s *Server) publish(_ string, input []byte) (*message, error) {
	var in struct{ TopicARN, TargetARN, Message, MessageGroupID string }
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	if in.TopicARN == "" {
		in.TopicARN = in.TargetARN
	}
	if in.TopicARN == "" || in.Message == "" {
		return nil, errors.New("the request has no TopicArn or no Message")
	}
	return &message{to: in.TopicARN, body: in.Message, group: in.MessageGroupID}, nil
}

func (s *Server) putEvents(region string, input []byte) (*message, error) {
	var in struct {
		Entries []struct {
			Source, DetailType, Detail, EventBusName string
			Resources                                []string
		}
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	c := &message{to: universal + "eventbridge:putEvents"}
	for _, e := range in.Entries {
		if strings.HasPrefix(e.Source, "aws.") { // as PutEvents has it: those are AWS's own
			return nil, errors.New("an event has a source of AWS's own")
		}
		var detail map[string]json.RawMessage
		if json.Unmarshal([]byte(e.Detail), &detail) != nil || detail == nil {
			return nil, errors.New("the Detail of an event must be a JSON object")
		}
		bus := or(&e.EventBusName, "default")
		if bus == "" {
			bus = "default"
		}
		if !strings.HasPrefix(bus, "arn:") {
			bus = "arn:aws:events:" + region + ":" + s.o.AccountID + ":event-bus/" + bus
		}
		c.events = append(c.events, BusEvent{Bus: bus, Source: e.Source, DetailType: e.DetailType, Detail: e.Detail, Resources: e.Resources})
	}
	if len(c.events) == 0 {
		return nil, errors.New("the request has no Entries")
	}
	return c, nil
}
