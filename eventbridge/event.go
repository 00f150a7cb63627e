package eventbridge

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

const timeFormat = "2006-01-02T15:04:05Z"

// wireEvent is an event as targets get it; the order of its members is the service's.
type wireEvent struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail,omitempty"`
}

func newEvent(id, account, region string, at time.Time) *wireEvent {
	return &wireEvent{Version: "0", ID: id, Account: account, Region: region, Time: at.UTC().Format(timeFormat), Resources: []string{}}
}

// scheduled is what a rule with a schedule sends. S-110.
func (s *Server) scheduled(r *Rule, at time.Time) *wireEvent {
	arn := s.ruleARN(r)
	e := newEvent(sameID(arn, at, ""), s.o.AccountID, r.Region, at)
	e.DetailType, e.Source, e.Resources, e.Detail = "Scheduled Event", "aws.events", []string{arn}, json.RawMessage("{}")
	return e
}

// sameID is an ID that is the same each time it is made for one time of one schedule.
func sameID(arn string, at time.Time, target string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(arn+"\x00"+at.UTC().Format(time.RFC3339Nano)+"\x00"+target)).String()
}

// object is a JSON object without the space between its parts. ok: it is one.
func object(text string) (json.RawMessage, bool) {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil || b.Len() == 0 || b.Bytes()[0] != '{' {
		return nil, false
	}
	return b.Bytes(), true
}
