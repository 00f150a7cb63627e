package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"thaw/courier"
	"thaw/internal/plainjson"
	"thaw/outbox"
	"thaw/schedule"
)

// document is what a target gets that has no input. Its detail is a string. S-111.
type document struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     string   `json:"detail"`
}

// fire sends what a schedule has due. The same time of a schedule has the same execution ID whenever it is fired.
func (s *Server) fire(ctx context.Context, k key, tick schedule.Tick) error {
	x := s.schedule(k)
	if x == nil || x.State == disabled {
		return nil
	}
	arn := s.arn(k)
	p := placeholders{arn: arn, at: tick.At, id: uuid.NewSHA1(uuid.NameSpaceURL, []byte(arn+"\x00"+tick.At.UTC().Format(time.RFC3339Nano))).String()}
	body := ""
	if x.Target.Input != nil {
		body = x.Target.fill(p)
	} else {
		body = string(plainjson.Value(document{"0", p.id, "Scheduled Event", "aws.scheduler", s.o.AccountID, tick.At.UTC().Format(time.RFC3339), k.region, []string{arn}, "{}"}))
	}
	what, err := s.call(x, body)
	parcel := &courier.Parcel{Letter: s.letter(x, p, what), Service: "scheduler.amazonaws.com", Source: arn, Account: s.o.AccountID, Role: x.Target.Role, RequestID: p.id}
	switch {
	case err != nil:
		return s.courier.Dead(ctx, parcel, &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true, Err: err})
	}
	if f := s.refused(x, what); f != nil {
		return s.courier.Dead(ctx, parcel, f)
	}
	if what.events == nil {
		return s.courier.Send(ctx, parcel)
	}
	for _, e := range what.events {
		e.Time = tick.At
		err := s.o.Put(ctx, &e)
		if errors.Is(err, ErrNoBus) {
			err = s.courier.Dead(ctx, parcel, &outbox.Failure{Code: outbox.NoResource, Permanent: true, Err: err})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refused says why a schedule's role does not let it send to a topic or a bus; nil: it does. Of a function its policy is
// asked as well, on the way to it, and queues are of other servers.
func (s *Server) refused(x *Schedule, m *message) *outbox.Failure {
	action, resources := "events:PutEvents", []string(nil)
	for _, e := range m.events {
		resources = append(resources, e.Bus)
	}
	if m.events == nil && strings.Contains(m.to, ":sns:") {
		action, resources = "sns:Publish", []string{m.to}
	}
	for _, resource := range resources {
		if s.o.May != nil && !s.o.May(x.Target.Role, action, resource) {
			return &outbox.Failure{Code: outbox.NoPermissions, Permanent: true, Err: fmt.Errorf(
				"the role %s does not let EventBridge Scheduler do %s on %s at this server: thaw role put says what it may, and whom it trusts", x.Target.Role, action, resource)}
		}
	}
	return nil
}

// call is what a schedule does, with its input. Of a failure it says whom it was for.
func (s *Server) call(x *Schedule, body string) (*message, error) {
	t := &x.Target
	if operation, ok := strings.CutPrefix(t.ARN, universal); ok && calls[operation] != nil {
		c, err := calls[operation](s, x.Region, []byte(body))
		if err != nil {
			return &message{to: t.ARN, body: body}, err
		}
		return c, nil
	}
	c := &message{to: t.ARN, body: body}
	if t.SQS != nil {
		c.group = t.SQS.GroupID
	}
	if t.Bus != nil {
		detail := body
		if t.Input == nil {
			detail = "{}"
		}
		c.events = []BusEvent{{Bus: t.ARN, Source: t.Bus.Source, DetailType: t.Bus.DetailType, Detail: detail, Resources: []string{s.arn(x.key())}}}
		var o map[string]json.RawMessage
		if json.Unmarshal([]byte(detail), &o) != nil {
			return c, errors.New("the input is not a JSON object, which the detail of an event must be")
		}
	}
	return c, nil
}

// letter is what is sent, and what a dead-letter queue is told of it. Source: Scheduler User Guide, "Configuring a
// dead-letter queue".
func (s *Server) letter(x *Schedule, p placeholders, c *message) *outbox.Letter {
	l := &outbox.Letter{To: c.to, Body: []byte(c.body), Group: c.group, Accepted: s.o.Now(),
		About: map[string]string{"SCHEDULE_ARN": p.arn, "TARGET_ARN": x.Target.ARN, "EXECUTION_ID": p.id, "SCHEDULED_TIME": p.at.UTC().Format(time.RFC3339), "IS_PAYLOAD_TRUNCATED": "false"}}
	l.MaxAttempts, l.MaxAge = x.Target.policy()
	if x.Target.DeadLetter != nil {
		l.DeadLetter = x.Target.DeadLetter.ARN
	}
	return l
}
