// Package scheduler is Amazon EventBridge Scheduler: schedules, their groups, and what they send. One file for each group of
// operations, in the protocol REST with JSON; whoever serves it has checked signatures, and gives it whole bodies
// (api.Service).
//
// When a schedule is due is said by schedule, and the agenda fires it: its target's input is on disk then, in a function's
// queue or in the outbox, or with the rules of a bus.
//
// Each region that a request is signed for has schedules and groups of its own, among them the group called default.
//
// A Server needs no end.
package scheduler

import (
	"strings"
	"time"
)

// Record is what is kept: a group or a schedule. Members may be added, never renamed.
type Record struct {
	Group    *Group    `json:",omitempty"`
	Schedule *Schedule `json:",omitempty"`
}

// Group is a schedule group. The default one has a record only if it has tags.
type Group struct {
	Region, Name      string
	Tags              map[string]string `json:",omitempty"`
	Token             string            `json:",omitempty"` // of the request that made it
	Created, Modified time.Time
}

// Schedule is one schedule.
type Schedule struct {
	Region, Group, Name string
	Expression          string
	Zone                string `json:",omitempty"`
	Start, End          time.Time
	Description         string `json:",omitempty"`
	State               string // ENABLED, DISABLED
	Action              string // after completion: NONE, DELETE
	KMSKey              string `json:",omitempty"`
	Window              window
	Target              Target
	Token               string `json:",omitempty"` // of the request that made it
	Created, Modified   time.Time
	// From is since when what it says counts.
	From time.Time
}

type window struct {
	Mode    string
	Minutes *int `json:"MaximumWindowInMinutes,omitempty"`
}

// Target is where a schedule sends to; its members are those of requests.
type Target struct {
	ARN        string       `json:"Arn"`
	Role       string       `json:"RoleArn"`
	Input      *string      `json:",omitempty"`
	DeadLetter *deadLetter  `json:"DeadLetterConfig,omitempty"`
	Retry      *retryPolicy `json:"RetryPolicy,omitempty"`
	SQS        *struct {
		GroupID string `json:"MessageGroupId,omitempty"`
	} `json:"SqsParameters,omitempty"`
	Bus *struct{ DetailType, Source string } `json:"EventBridgeParameters,omitempty"`
}

type deadLetter struct {
	ARN string `json:"Arn,omitempty"`
}

type retryPolicy struct {
	Age      *int `json:"MaximumEventAgeInSeconds,omitempty"`
	Attempts *int `json:"MaximumRetryAttempts,omitempty"`
}

const (
	defaultGroup = "default"
	enabled      = "ENABLED"
	disabled     = "DISABLED"
	deleteAfter  = "DELETE"
)

// key names a schedule. No part has a space.
type key struct{ region, group, name string }

func (k key) document() string { return "schedule " + k.region + " " + k.group + " " + k.name }

func (s *Schedule) key() key { return key{s.Region, s.Group, s.Name} }

type groupKey struct{ region, name string }

func (k groupKey) document() string { return "group " + k.region + " " + k.name }

func (s *Server) arn(k key) string {
	return "arn:aws:scheduler:" + k.region + ":" + s.o.AccountID + ":schedule/" + k.group + "/" + k.name
}

func (s *Server) groupARN(k groupKey) string {
	return "arn:aws:scheduler:" + k.region + ":" + s.o.AccountID + ":schedule-group/" + k.name
}

// groupOf is the group that an ARN names.
func (s *Server) groupOf(arn string) (k groupKey, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "scheduler" || p[4] != s.o.AccountID {
		return k, false
	}
	name, ok := strings.CutPrefix(p[5], "schedule-group/")
	return groupKey{p[3], name}, ok
}
