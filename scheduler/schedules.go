package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"thaw/agenda"
	"thaw/courier"
	"thaw/internal/shape"
	"thaw/schedule"
)

func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func or(s *string, absent string) string {
	if s == nil {
		return absent
	}
	return *s
}

// timestamp is a time as clients send it: seconds of Unix time, or text.
type timestamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *timestamp) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		var err error
		t.Time, err = time.Parse(time.RFC3339Nano, s)
		return err
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f < -1e11 || f > 1e11 {
		return errors.New("a time is seconds of Unix time")
	}
	t.Time = time.UnixMilli(int64(f * 1000)).UTC()
	return nil
}

type scheduleRequest struct {
	ActionAfterCompletion, ClientToken, Description, GroupName *string
	KMSKey                                                     *string `json:"KmsKeyArn"`
	ScheduleExpression, ScheduleExpressionTimezone, State      *string
	StartDate, EndDate                                         *timestamp
	FlexibleTimeWindow                                         *struct {
		Mode    *string
		Minutes *int `json:"MaximumWindowInMinutes"`
	}
	Target *struct {
		Target
		ARN  *string `json:"Arn"`
		Role *string `json:"RoleArn"`
	}
}

func (in *scheduleRequest) check(name string) error {
	var v shape.Violations
	v.Text("name", &name, nameText)
	v.Text("groupName", in.GroupName, nameText)
	v.Text("clientToken", in.ClientToken, tokenText)
	v.Text("description", in.Description, description)
	v.Text("kmsKeyArn", in.KMSKey, kmsKey)
	v.Required("scheduleExpression", in.ScheduleExpression, expression)
	v.Text("scheduleExpressionTimezone", in.ScheduleExpressionTimezone, zoneText)
	v.OneOf("state", in.State, enabled, disabled)
	v.OneOf("actionAfterCompletion", in.ActionAfterCompletion, "NONE", deleteAfter)
	switch w := in.FlexibleTimeWindow; {
	case w == nil:
		v.Missing("flexibleTimeWindow")
	case w.Mode == nil:
		v.Missing("flexibleTimeWindow.mode")
	default:
		v.OneOf("flexibleTimeWindow.mode", w.Mode, "OFF", "FLEXIBLE")
		v.Number("flexibleTimeWindow.maximumWindowInMinutes", w.Minutes, 1, 1440)
	}
	if t := in.Target; t == nil {
		v.Missing("target")
	} else {
		v.Required("target.arn", t.ARN, anyARN)
		v.Required("target.roleArn", t.Role, roleARN)
		t.Target.check(&v)
	}
	return violated(v)
}

// schedule is what a request makes; it is sound.
func (in *scheduleRequest) schedule(k key) (*Schedule, error) {
	x := &Schedule{Region: k.region, Group: k.group, Name: k.name, Expression: *in.ScheduleExpression, Zone: or(in.ScheduleExpressionTimezone, "UTC"), Description: given(in.Description),
		State: or(in.State, enabled), Action: or(in.ActionAfterCompletion, "NONE"), KMSKey: given(in.KMSKey), Window: window{*in.FlexibleTimeWindow.Mode, in.FlexibleTimeWindow.Minutes},
		Target: in.Target.Target, Token: given(in.ClientToken)}
	x.Target.ARN, x.Target.Role = *in.Target.ARN, *in.Target.Role
	if in.StartDate != nil {
		x.Start = in.StartDate.Time
	}
	if in.EndDate != nil {
		x.End = in.EndDate.Time
	}
	if _, err := x.timing(""); err != nil {
		return nil, err
	}
	switch flexible := x.Window.Mode == "FLEXIBLE"; {
	case flexible && x.Window.Minutes == nil:
		return nil, invalid("MaximumWindowInMinutes must be given when FlexibleTimeWindow is FLEXIBLE.")
	case !flexible && x.Window.Minutes != nil:
		return nil, invalid("MaximumWindowInMinutes must not be given when FlexibleTimeWindow is OFF.")
	case !x.Start.IsZero() && !x.End.IsZero() && !x.End.After(x.Start):
		return nil, invalid("EndDate must be after StartDate.")
	}
	return x, nil
}

// timing is when a schedule is due.
func (x *Schedule) timing(arn string) (*schedule.Timing, error) {
	e, err := schedule.Parse(x.Expression, schedule.Scheduler)
	if err != nil {
		return nil, invalid("Invalid Schedule Expression %s: %v.", x.Expression, err)
	}
	zone, err := time.LoadLocation(or(&x.Zone, "UTC"))
	if err != nil || x.Zone == "Local" {
		return nil, invalid("The ScheduleExpressionTimezone %s is not a time zone.", x.Zone)
	}
	t := &schedule.Timing{Expression: e, Zone: zone, Key: arn, Since: x.From, Start: x.Start, End: x.End, Anchor: x.From, FromAnchor: true}
	if !x.Start.IsZero() {
		t.Anchor = x.Start // a rate counts from it: documented
	}
	if x.Window.Minutes != nil {
		t.Window = time.Duration(*x.Window.Minutes) * time.Minute
	}
	return t, nil
}

// plan has the agenda fire a schedule.
func (s *Server) plan(x *Schedule, set func(string, agenda.Entry)) {
	k, arn := x.key(), s.arn(x.key())
	t, err := x.timing(arn)
	if err != nil || x.State == disabled { // it was sound when it was put
		s.o.Agenda.Remove(arn)
		return
	}
	e := agenda.Entry{Timing: t, Fire: func(ctx context.Context, t schedule.Tick) error { return s.fire(ctx, k, t) }}
	if x.Action == deleteAfter {
		e.Done = func() { s.completed(x) }
	}
	set(arn, e)
}

// completed deletes a schedule that was fired for the last time, unless it was changed meanwhile.
func (s *Server) completed(x *Schedule) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if now := s.schedule(x.key()); now == nil || !now.From.Equal(x.From) || !now.Modified.Equal(x.Modified) {
		return
	}
	if err := s.remove(context.Background(), x); err != nil {
		s.o.Log.Error("a schedule that is completed could not be deleted", "schedule", s.arn(x.key()), "error", err)
	}
}

func (s *Server) schedule(k key) *Schedule {
	if r := s.records.Get(k.document()); r != nil {
		return r.Schedule
	}
	return nil
}

func (s *Server) needSchedule(k key) (*Schedule, error) {
	x := s.schedule(k)
	if x == nil {
		return nil, fail("ResourceNotFoundException", "Schedule %s does not exist.", k.name)
	}
	return x, nil
}

// schedules are those of a region, and of a group if one is named, in the order of groups and names.
func (s *Server) schedules(region, group string) (all []*Schedule) {
	for _, r := range s.records.All() {
		if x := r.Schedule; x != nil && x.Region == region && (group == "" || x.Group == group) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *Schedule) int { return strings.Compare(listKey(a), listKey(b)) })
	return all
}

func listKey(x *Schedule) string { return x.Group + " " + x.Name }

// Tally is what a schedule has sent to the function that is its target.
func (s *Server) Tally(x *Schedule) courier.Tally {
	return s.courier.Tally(s.arn(x.key()), x.Target.ARN)
}

// Schedules are those of all regions.
func (s *Server) Schedules() (all []*Schedule) {
	for _, r := range s.records.All() {
		if r.Schedule != nil {
			all = append(all, r.Schedule)
		}
	}
	return all
}

// remove deletes a schedule. Caller holds changing.
func (s *Server) remove(ctx context.Context, x *Schedule) error {
	if err := s.records.Delete(ctx, x.key().document()); err != nil {
		return err
	}
	s.o.Agenda.Remove(s.arn(x.key()))
	s.courier.Forget(s.arn(x.key()))
	return nil
}

// store stores a schedule, instead of the one that was, which may be nil. Caller holds changing.
func (s *Server) store(ctx context.Context, was, x *Schedule) (any, error) {
	now := s.o.Now()
	x.Created, x.Modified = now, now
	x.From = now.Truncate(time.Second).Add(time.Second) // of a rate the first time, too
	if was != nil {
		x.Created, x.Token = was.Created, was.Token
		if was.Expression == x.Expression && was.Zone == x.Zone && was.Start.Equal(x.Start) && was.State == x.State {
			x.From = was.From
		}
	}
	if err := s.records.Put(ctx, x.key().document(), &Record{Schedule: x}); err != nil {
		return nil, err
	}
	s.plan(x, s.o.Agenda.Set)
	return struct{ ScheduleArn string }{s.arn(x.key())}, nil
}

func (c *call) put() (*Schedule, error) {
	in, err := decode[scheduleRequest](c)
	if err != nil {
		return nil, err
	}
	if err := in.check(c.name); err != nil {
		return nil, err
	}
	x, err := in.schedule(key{c.region, or(in.GroupName, defaultGroup), c.name})
	if err != nil {
		return nil, err
	}
	return x, c.s.sound(&x.Target)
}

func createSchedule(c *call) (any, error) {
	x, err := c.put()
	if err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if _, err := c.s.needGroup(groupKey{x.Region, x.Group}); err != nil {
		return nil, err
	}
	if was := c.s.schedule(x.key()); was != nil {
		if x.Token != "" && was.Token == x.Token {
			return struct{ ScheduleArn string }{c.s.arn(x.key())}, nil
		}
		return nil, fail("ConflictException", "Schedule %s already exists.", x.Name)
	}
	return c.s.store(c.ctx(), nil, x)
}

func updateSchedule(c *call) (any, error) {
	x, err := c.put()
	if err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	was, err := c.s.needSchedule(x.key())
	if err != nil {
		return nil, err
	}
	return c.s.store(c.ctx(), was, x)
}

// one is the schedule that a request without a body names.
func (c *call) one() (key, error) {
	var v shape.Violations
	v.Text("name", &c.name, nameText)
	v.Text("groupName", c.parameter("groupName"), nameText)
	v.Text("clientToken", c.parameter("clientToken"), tokenText)
	return key{c.region, or(c.parameter("groupName"), defaultGroup), c.name}, violated(v)
}

func deleteSchedule(c *call) (any, error) {
	k, err := c.one()
	if err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	x, err := c.s.needSchedule(k)
	if err != nil {
		return nil, err
	}
	return nil, c.s.remove(c.ctx(), x)
}

func getSchedule(c *call) (any, error) {
	k, err := c.one()
	if err != nil {
		return nil, err
	}
	x, err := c.s.needSchedule(k)
	if err != nil {
		return nil, err
	}
	return struct {
		ActionAfterCompletion, Arn, GroupName, Name, ScheduleExpression, ScheduleExpressionTimezone, State string
		Description                                                                                        string `json:",omitempty"`
		KmsKeyArn                                                                                          string `json:",omitempty"`
		CreationDate, LastModificationDate                                                                 float64
		StartDate                                                                                          float64 `json:",omitempty"`
		EndDate                                                                                            float64 `json:",omitempty"`
		FlexibleTimeWindow                                                                                 window
		Target                                                                                             Target
	}{x.Action, c.s.arn(k), x.Group, x.Name, x.Expression, x.Zone, x.State, x.Description, x.KMSKey, seconds(x.Created), seconds(x.Modified), seconds(x.Start), seconds(x.End),
		x.Window, x.Target.shown()}, nil
}

// shown is a target as answers have it: with the retry policy that counts.
func (t Target) shown() Target {
	attempts, age := t.policy()
	seconds := int(age / time.Second)
	t.Retry = &retryPolicy{Age: &seconds, Attempts: &attempts}
	return t
}

func listSchedules(c *call) (any, error) {
	type targetSummary struct{ Arn string }
	type summary struct {
		Arn, GroupName, Name, State        string
		CreationDate, LastModificationDate float64
		Target                             targetSummary
	}
	group := given(c.parameter("ScheduleGroup"))
	if group != "" {
		if _, err := c.s.needGroup(groupKey{c.region, group}); err != nil {
			return nil, err
		}
	}
	prefix, state := given(c.parameter("NamePrefix")), given(c.parameter("State"))
	list := slices.DeleteFunc(c.s.schedules(c.region, group), func(x *Schedule) bool {
		return !strings.HasPrefix(x.Name, prefix) || state != "" && x.State != state
	})
	part, next, err := pageOf(c, list, listKey)
	out := []summary{}
	for _, x := range part {
		out = append(out, summary{c.s.arn(x.key()), x.Group, x.Name, x.State, seconds(x.Created), seconds(x.Modified), targetSummary{x.Target.ARN}})
	}
	return struct {
		Schedules []summary
		NextToken *string `json:",omitempty"`
	}{out, next}, err
}
