package eventbridge

import (
	"context"
	"maps"
	"slices"
	"strings"

	"thaw/agenda"
	"thaw/courier"
	"thaw/eventpattern"
	"thaw/internal/plainjson"
	"thaw/internal/shape"
	"thaw/schedule"
)

// know takes a rule into what is looked up: its bus's index and the agenda.
func (s *Server) know(r *Rule, plan func(string, agenda.Entry)) {
	k := r.bus()
	s.mu.Lock()
	b := s.buses[k]
	if b == nil {
		b = &busRules{names: map[string]bool{}}
		s.buses[k] = b
	}
	b.names[r.Name] = true
	s.mu.Unlock()
	b.index.Remove(r.Name)
	if r.Pattern != "" && r.enabled() {
		if p, err := eventpattern.Compile([]byte(r.Pattern)); err == nil { // it could be read when it was put
			b.index.Set(r.Name, p)
		}
	}
	arn := s.ruleARN(r)
	e, err := schedule.Parse(r.Schedule, schedule.Rules)
	if r.Schedule == "" || !r.enabled() || err != nil {
		s.o.Agenda.Remove(arn)
		return
	}
	plan(arn, agenda.Entry{Timing: &schedule.Timing{Expression: e, Key: arn, Anchor: r.From, Since: r.From},
		Fire: func(ctx context.Context, t schedule.Tick) error { return s.fire(ctx, k, r.Name, t) }})
}

func (s *Server) forget(r *Rule) {
	s.courier.Forget(s.ruleARN(r))
	s.o.Agenda.Remove(s.ruleARN(r))
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buses[r.bus()]
	if b == nil {
		return
	}
	b.index.Remove(r.Name)
	if delete(b.names, r.Name); len(b.names) == 0 {
		delete(s.buses, r.bus())
	}
}

// rule is the record of a rule; nil: there is none.
func (s *Server) rule(k busKey, name string) *Rule {
	if r := s.records.Get(k.rule(name)); r != nil {
		return r.Rule
	}
	return nil
}

func (s *Server) needRule(k busKey, name string) (*Rule, error) {
	if _, err := s.needBus(k); err != nil {
		return nil, err
	}
	r := s.rule(k, name)
	if r == nil {
		return nil, notFound("Rule %s does not exist on EventBus %s.", name, k.name)
	}
	return r, nil
}

// ruleNames are the names of a bus's rules, sorted.
func (s *Server) ruleNames(k busKey, prefix string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.buses[k]
	if b == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b.names)), func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

// changeRule replaces a rule by what change makes of a copy of it.
func (s *Server) changeRule(ctx context.Context, k busKey, name string, change func(*Rule) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	was, err := s.needRule(k, name)
	if err != nil {
		return err
	}
	r := *was
	if err := change(&r); err != nil {
		return err
	}
	return s.store(ctx, was, &r)
}

// store stores a rule, instead of the one that was, which may be nil. Caller holds changing.
func (s *Server) store(ctx context.Context, was, r *Rule) error {
	same := was != nil && was.Schedule == r.Schedule && was.enabled() == r.enabled()
	if !same {
		r.From = s.o.Now().Round(0) // not to the second: rules made one after the other are due one after the other
	}
	if err := s.records.Put(ctx, r.bus().rule(r.Name), &Record{Rule: r}); err != nil {
		return err
	}
	plan := s.o.Agenda.Set
	if same { // it goes on as it was planned
		plan = func(string, agenda.Entry) {}
	}
	s.know(r, plan)
	return nil
}

type ruleRequest struct {
	Name               *string
	EventBusName       *string
	ScheduleExpression *string
	EventPattern       *string
	State              *string
	Description        *string
	RoleArn            *string
	Tags               tagList
	Force              bool
}

// named reads a request for one rule.
func (c *call) named() (in ruleRequest, k busKey, err error) {
	if in, err = decode[ruleRequest](c); err != nil {
		return in, k, err
	}
	var v shape.Violations
	v.Required("name", in.Name, ruleName)
	v.Text("eventBusName", in.EventBusName, busNameOrARN)
	v.Text("scheduleExpression", in.ScheduleExpression, scheduleText)
	v.Text("eventPattern", in.EventPattern, patternText)
	v.OneOf("state", in.State, "ENABLED", disabled, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")
	v.Text("description", in.Description, description)
	v.Text("roleArn", in.RoleArn, anyARN)
	in.Tags.check(&v)
	return in, c.busOf(in.EventBusName), violated(v)
}

func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func putRule(c *call) (any, error) {
	in, k, err := c.named()
	if err != nil {
		return nil, err
	}
	r := &Rule{Region: k.region, Bus: k.name, Name: *in.Name, Pattern: given(in.EventPattern),
		Schedule: given(in.ScheduleExpression), State: "ENABLED",
		Description: given(in.Description), Role: given(in.RoleArn), CreatedBy: c.s.o.AccountID}
	set(&r.State, in.State)
	if err := r.check(); err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if _, err := c.s.needBus(k); err != nil {
		return nil, err
	}
	was := c.s.rule(k, r.Name)
	if was != nil { // tags are left as they are: documented
		r.Tags, r.Targets, r.From = was.Tags, was.Targets, was.From
	} else {
		r.Tags = in.Tags.merge(nil)
	}
	return struct{ RuleArn string }{c.s.ruleARN(r)}, c.s.store(c.ctx(), was, r)
}

func (r *Rule) check() error {
	if r.Pattern == "" && r.Schedule == "" {
		return invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if r.Schedule != "" {
		if r.Bus != defaultBus {
			return invalid("ScheduleExpression is supported only on the default event bus.")
		}
		if _, err := schedule.Parse(r.Schedule, schedule.Rules); err != nil {
			return invalid("Parameter ScheduleExpression is not valid. Reason: %v.", err)
		}
	}
	if r.Pattern == "" {
		return nil
	}
	_, err := readPattern(r.Pattern)
	return err
}

func readPattern(text string) (*eventpattern.Pattern, error) {
	p, err := eventpattern.Compile([]byte(text))
	if err != nil {
		return nil, fail("InvalidEventPatternException", "Event pattern is not valid. Reason: %v.", err)
	}
	return p, nil
}

func deleteRule(c *call) (any, error) {
	in, k, err := c.named()
	if err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if _, err := c.s.needBus(k); err != nil {
		return nil, err
	}
	r := c.s.rule(k, *in.Name)
	switch {
	case r == nil:
		return nil, nil
	case len(r.Targets) > 0:
		return nil, invalid("Rule can't be deleted since it has targets.")
	}
	if err := c.s.records.Delete(c.ctx(), k.rule(r.Name)); err != nil {
		return nil, err
	}
	c.s.forget(r)
	return nil, nil
}

// ruleAnswer is a rule as answers have it.
type ruleAnswer struct {
	Name, Arn          string
	EventPattern       string `json:",omitempty"`
	ScheduleExpression string `json:",omitempty"`
	State              string
	Description        string `json:",omitempty"`
	RoleArn            string `json:",omitempty"`
	EventBusName       string
	CreatedBy          string `json:",omitempty"`
}

func (s *Server) ruleAnswer(r *Rule) ruleAnswer {
	return ruleAnswer{r.Name, s.ruleARN(r), r.Pattern, r.Schedule, r.State, r.Description, r.Role, r.Bus, r.CreatedBy}
}

func describeRule(c *call) (any, error) {
	in, k, err := c.named()
	if err != nil {
		return nil, err
	}
	r, err := c.s.needRule(k, *in.Name)
	if err != nil {
		return nil, err
	}
	return c.s.ruleAnswer(r), nil
}

func enableRule(c *call) (any, error)  { return c.turn("ENABLED") }
func disableRule(c *call) (any, error) { return c.turn(disabled) }

func (c *call) turn(state string) (any, error) {
	in, k, err := c.named()
	if err != nil {
		return nil, err
	}
	return nil, c.s.changeRule(c.ctx(), k, *in.Name, func(r *Rule) error {
		r.State = state
		return nil
	})
}

func listRules(c *call) (any, error) {
	in, err := decode[busPage](c)
	if err != nil {
		return nil, err
	}
	if err := in.checked(nil); err != nil {
		return nil, err
	}
	k := c.busOf(in.EventBusName)
	if _, err := c.s.needBus(k); err != nil {
		return nil, err
	}
	names, next, err := page(&in.pageRequest, c.s.ruleNames(k, in.prefix()), func(n string) string { return n })
	rules := []ruleAnswer{}
	for _, n := range names {
		if r := c.s.rule(k, n); r != nil {
			a := c.s.ruleAnswer(r)
			a.CreatedBy = ""
			rules = append(rules, a)
		}
	}
	return struct {
		Rules     []ruleAnswer
		NextToken *string `json:",omitempty"`
	}{rules, next}, err
}

func testEventPattern(c *call) (any, error) {
	in, err := decode[struct{ EventPattern, Event *string }](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("eventPattern", in.EventPattern, patternText)
	if in.Event == nil {
		v.Missing("event")
	}
	if err := violated(v); err != nil {
		return nil, err
	}
	p, err := readPattern(*in.EventPattern)
	if err != nil {
		return nil, err
	}
	d, err := eventpattern.Parse([]byte(*in.Event))
	if err != nil || !d.IsObject() {
		return nil, invalid("Parameter Event is not valid. Reason: it is not a JSON object.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if has, err := eventpattern.Compile(plainjson.Value(map[string]any{name: []any{map[string]bool{"exists": true}}})); err == nil && !has.Match(d) && name != "resources" {
			return nil, invalid("Parameter Event is not valid. Reason: %s is a required member of events.", name)
		}
	}
	return struct{ Result bool }{p.Match(d)}, nil
}

// Tally is what a rule has sent to a function.
func (s *Server) Tally(r *Rule, target string) courier.Tally {
	return s.courier.Tally(s.ruleARN(r), target)
}

// Rules are the rules of all buses, in an order of their own.
func (s *Server) Rules() (all []*Rule) {
	for _, r := range s.records.All() {
		if r.Rule != nil {
			all = append(all, r.Rule)
		}
	}
	return all
}
