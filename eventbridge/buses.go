package eventbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"thaw/internal/shape"
)

// busOf is the bus that a request names, by name or ARN; without a name the default one. It need not be there.
func (c *call) busOf(name *string) busKey { return c.s.busIn(c.region, name) }

func (s *Server) busIn(region string, name *string) busKey {
	k := busKey{region, defaultBus}
	if name == nil || *name == "" {
		return k
	}
	k.name = *name
	if a, ok := parseARN(*name); ok && a.kind == "event-bus" {
		k = busKey{a.region, a.path}
		if a.account != s.o.AccountID {
			k.name = *name // which no bus is called
		}
	}
	return k
}

// bus is the record of a bus; nil: there is none.
func (s *Server) bus(k busKey) *Bus {
	if r := s.records.Get(k.document()); r != nil {
		return r.Bus
	}
	if k.name == defaultBus {
		return &Bus{Region: k.region, Name: k.name}
	}
	return nil
}

func (s *Server) needBus(k busKey) (*Bus, error) {
	b := s.bus(k)
	if b == nil {
		return nil, notFound("Event bus %s does not exist.", k.name)
	}
	return b, nil
}

// changeBus replaces a bus by what change makes of a copy of it.
func (s *Server) changeBus(ctx context.Context, k busKey, change func(*Bus) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	was, err := s.needBus(k)
	if err != nil {
		return err
	}
	b := *was
	if err := change(&b); err != nil {
		return err
	}
	return s.records.Put(ctx, k.document(), &Record{Bus: &b})
}

type busRequest struct {
	Name             *string
	EventSourceName  *string
	Description      *string
	KMSKey           *string `json:"KmsKeyIdentifier"`
	DeadLetterConfig *deadLetter
	LogConfig        json.RawMessage
	Tags             tagList
}

func (in *busRequest) check(v *shape.Violations) {
	v.Text("description", in.Description, description)
	v.Text("kmsKeyIdentifier", in.KMSKey, kmsKey)
	in.Tags.check(v)
}

func (in *busRequest) apply(b *Bus) {
	set(&b.Description, in.Description)
	set(&b.KMSKey, in.KMSKey)
	if in.DeadLetterConfig != nil {
		b.DeadLetter = in.DeadLetterConfig.ARN
	}
	if in.LogConfig != nil {
		b.LogConfig = in.LogConfig
	}
}

func set(to *string, value *string) {
	if value != nil {
		*to = *value
	}
}

// busAnswer is a bus as answers have it.
type busAnswer struct {
	Name             string          `json:",omitempty"`
	Arn              string          `json:",omitempty"`
	EventBusArn      string          `json:",omitempty"`
	Description      string          `json:",omitempty"`
	KMSKey           string          `json:"KmsKeyIdentifier,omitempty"`
	DeadLetterConfig *deadLetter     `json:",omitempty"`
	LogConfig        json.RawMessage `json:",omitempty"`
	Policy           string          `json:",omitempty"`
	CreationTime     float64         `json:",omitempty"`
	LastModifiedTime float64         `json:",omitempty"`
}

func (s *Server) answer(b *Bus) busAnswer {
	a := busAnswer{Name: b.Name, Arn: s.busARN(busKey{b.Region, b.Name}), Description: b.Description, KMSKey: b.KMSKey, LogConfig: b.LogConfig,
		Policy: string(b.Policy), CreationTime: seconds(b.Created), LastModifiedTime: seconds(b.Modified)}
	if b.DeadLetter != "" {
		a.DeadLetterConfig = &deadLetter{b.DeadLetter}
	}
	return a
}

// seconds is a time as the protocol has it; 0: none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func createEventBus(c *call) (any, error) {
	in, err := decode[busRequest](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("name", in.Name, busName)
	in.check(&v)
	if err := violated(v); err != nil {
		return nil, err
	}
	switch {
	case in.EventSourceName != nil:
		return nil, invalid("This server has no partner event sources: make a bus without EventSourceName.")
	case strings.Contains(*in.Name, "/"):
		return nil, invalid("Event bus name must not contain '/'.")
	}
	k := busKey{c.region, *in.Name}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if c.s.bus(k) != nil {
		return nil, fail("ResourceAlreadyExistsException", "Event bus %s already exists.", k.name)
	}
	now := c.s.o.Now()
	b := &Bus{Region: k.region, Name: k.name, Created: now, Modified: now, Tags: in.Tags.merge(nil)}
	in.apply(b)
	if err := c.s.records.Put(c.ctx(), k.document(), &Record{Bus: b}); err != nil {
		return nil, err
	}
	a := c.s.answer(b)
	return busAnswer{EventBusArn: a.Arn, Description: a.Description, KMSKey: a.KMSKey, DeadLetterConfig: a.DeadLetterConfig,
		LogConfig: a.LogConfig}, nil
}

func updateEventBus(c *call) (any, error) {
	in, err := decode[busRequest](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Text("name", in.Name, busName)
	in.check(&v)
	if err := violated(v); err != nil {
		return nil, err
	}
	var a busAnswer
	err = c.s.changeBus(c.ctx(), c.busOf(in.Name), func(b *Bus) error {
		in.apply(b)
		b.Modified = c.s.o.Now()
		a = c.s.answer(b)
		a.Policy, a.CreationTime, a.LastModifiedTime = "", 0, 0
		return nil
	})
	return a, err
}

func deleteEventBus(c *call) (any, error) {
	in, err := decode[busRequest](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Required("name", in.Name, busName)
	if err := violated(v); err != nil {
		return nil, err
	}
	k := busKey{c.region, *in.Name}
	if k.name == defaultBus {
		return nil, invalid("Cannot delete event bus default.")
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if len(c.s.ruleNames(k, "")) > 0 {
		return nil, invalid("Event bus can't be deleted since it has rules.")
	}
	if c.s.bus(k) == nil {
		return nil, nil
	}
	return nil, c.s.records.Delete(c.ctx(), k.document())
}

func describeEventBus(c *call) (any, error) {
	in, err := decode[busRequest](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Text("name", in.Name, busNameOrARN)
	if err := violated(v); err != nil {
		return nil, err
	}
	b, err := c.s.needBus(c.busOf(in.Name))
	if err != nil {
		return nil, err
	}
	return c.s.answer(b), nil
}

// pageRequest is the part of a request that asks for a page.
type pageRequest struct {
	NamePrefix *string
	NextToken  *string
	Limit      *int
}

func (p *pageRequest) check(v *shape.Violations, name shape.Text) {
	v.Text("namePrefix", p.NamePrefix, name)
	v.Text("nextToken", p.NextToken, someToken)
	v.Number("limit", p.Limit, 1, 100)
}

func (p *pageRequest) prefix() string {
	if p.NamePrefix == nil {
		return ""
	}
	return *p.NamePrefix
}

// busPage is a request for a page of what one bus has.
type busPage struct {
	pageRequest
	EventBusName *string
}

// checked says what is wrong with the request, after what was found already.
func (p *busPage) checked(v shape.Violations) error {
	p.check(&v, ruleName)
	v.Text("eventBusName", p.EventBusName, busNameOrARN)
	return violated(v)
}

// page is the part of a list that a request asks for.
func page[T any](p *pageRequest, list []T, key func(T) string) ([]T, *string, error) {
	limit := 100
	if p.Limit != nil {
		limit = *p.Limit
	}
	part, next, err := shape.Page(list, key, p.NextToken, limit)
	if err != nil {
		return nil, nil, invalid("Parameter NextToken is not valid. Reason: %v.", err)
	}
	return part, next, nil
}

func listEventBuses(c *call) (any, error) {
	in, err := decode[pageRequest](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	in.check(&v, busName)
	if err := violated(v); err != nil {
		return nil, err
	}
	list := []busAnswer{c.s.answer(c.s.bus(busKey{c.region, defaultBus}))}
	for _, r := range c.s.records.All() {
		if r.Bus != nil && r.Bus.Region == c.region && r.Bus.Name != defaultBus {
			list = append(list, c.s.answer(r.Bus))
		}
	}
	list = slices.DeleteFunc(list, func(b busAnswer) bool { return !strings.HasPrefix(b.Name, in.prefix()) })
	slices.SortFunc(list, func(a, b busAnswer) int { return strings.Compare(a.Name, b.Name) })
	part, next, err := page(&in, list, func(b busAnswer) string { return b.Name })
	for i := range part {
		part[i].KMSKey, part[i].DeadLetterConfig, part[i].LogConfig = "", nil, nil
	}
	return struct {
		EventBuses []busAnswer
		NextToken  *string `json:",omitempty"`
	}{append([]busAnswer{}, part...), next}, err
}

// compacted is a JSON text without the space between its parts.
func compacted(text []byte) (json.RawMessage, bool) {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return nil, false
	}
	return b.Bytes(), true
}
