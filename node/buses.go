package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // schedules name time zones, and the host may have none

	"thaw/admin"
	"thaw/agenda"
	"thaw/api"
	"thaw/async"
	"thaw/courier"
	"thaw/destination"
	"thaw/eventbridge"
	"thaw/iam"
	"thaw/jetstream"
	"thaw/logstore"
	"thaw/outbox"
	"thaw/scheduler"
)

// openBuses opens EventBridge's buses and rules, EventBridge Scheduler, and what both send with: the agenda of what is
// due, and the outbox for those who are no functions of this server.
func (n *Node) openBuses(ctx context.Context, shared pushParts) (pushSource, error) {
	var s pushSource
	rules, err := shared.records.Documents(ctx, jetstream.Buses)
	if err != nil {
		return s, err
	}
	letters, err := outbox.Open(ctx, outbox.Options{Store: n.backlog.Letters(), Send: n.deliver, Log: n.log})
	if err != nil {
		return s, err
	}
	n.undo.Add(func() error { letters.Close(); return nil })
	due, err := agenda.Open(agenda.Options{Path: filepath.Join(n.cfg.DataDir, "schedules", "fired"), Log: n.log,
		Now: n.cfg.now, Fired: n.metrics.late()})
	if err != nil {
		return s, err
	}
	n.due = due
	n.undo.Add(func() error { due.Close(); return nil })
	buses, err := eventbridge.Open(ctx, eventbridge.Options{AccountID: n.cfg.AccountID, Records: rules,
		Functions: shared.functions, Outbox: letters, Agenda: due, Log: n.log, Now: n.cfg.now})
	if err != nil {
		return s, err
	}
	schedules, err := shared.records.Documents(ctx, jetstream.Schedules)
	if err != nil {
		return s, err
	}
	planned, err := scheduler.Open(ctx, scheduler.Options{AccountID: n.cfg.AccountID, Records: schedules,
		Functions: shared.functions, Box: letters, Agenda: due, Log: n.log, Now: n.cfg.now,
		May: n.scheduleMay,
		Put: func(ctx context.Context, e *scheduler.BusEvent) error {
			err := buses.Put(ctx, &eventbridge.Event{Bus: e.Bus, Source: e.Source, DetailType: e.DetailType, Detail: e.Detail,
				Resources: e.Resources, Time: e.Time})
			if errors.Is(err, eventbridge.ErrNoBus) {
				return scheduler.ErrNoBus
			}
			return err
		}})
	if err != nil {
		return s, err
	}
	due.Start()
	n.buses.is = buses
	close(n.buses.open)
	s.services = []api.Service{buses, planned}
	s.triggers = func() []admin.Trigger { return append(ruleTriggers(buses), scheduleTriggers(planned)...) }
	return s, nil
}

// scheduleMay says whether a role lets a schedule do something, where policies are asked.
func (n *Node) scheduleMay(role, action, resource string) bool {
	if !n.api.Enforced() {
		return true
	}
	who := n.access.TakenBy("scheduler.amazonaws.com", role)
	return who != nil && who.May(iam.Ask{Action: action, Resource: resource}, n.cfg.AccountID, nil).OK()
}

// scheduleTriggers are the schedules that have a function as target.
func scheduleTriggers(planned *scheduler.Server) (all []admin.Trigger) {
	for _, x := range planned.Schedules() {
		if strings.Contains(x.Target.ARN, ":lambda:") {
			all = append(all, tallied(admin.Trigger{Kind: "schedule", Name: x.Group + "/" + x.Name, Region: x.Region,
				Function: x.Target.ARN, From: x.Expression + " " + x.Zone, Disabled: x.State == "DISABLED"}, planned.Tally(x)))
		}
	}
	return all
}

// tallied is a trigger that others make, with what it has sent.
func tallied(t admin.Trigger, of courier.Tally) admin.Trigger {
	t.Managed, t.Events, t.Last, t.Trouble, t.Troubled = true, of.Events, of.Last, of.Trouble, of.Troubled
	return t
}

// ruleTriggers are the rules that have a function as target.
func ruleTriggers(buses *eventbridge.Server) (all []admin.Trigger) {
	for _, r := range buses.Rules() {
		from := strings.TrimSpace(r.Schedule + " " + r.Pattern)
		for _, t := range r.Targets {
			if strings.Contains(t.ARN, ":lambda:") {
				all = append(all, tallied(admin.Trigger{Kind: "rule", Name: r.Bus + "/" + r.Name, Region: r.Region, Function: t.ARN,
					From: from, Disabled: r.State == "DISABLED"}, buses.Tally(r, t.ARN)))
			}
		}
	}
	return all
}

// deliver sends a letter of the outbox.
func (n *Node) deliver(ctx context.Context, l *outbox.Letter) error {
	if !strings.Contains(l.To, ":logs:") {
		return n.sender.Deliver(ctx, l)
	}
	_, group, _ := strings.Cut(l.To, ":log-group:")
	group = strings.TrimSuffix(group, ":*")
	if _, err := n.logs.Group(ctx, group); err != nil {
		code := outbox.ClientError
		if errors.Is(err, logstore.ErrNoGroup) {
			code = outbox.NoResource
		}
		return &outbox.Failure{Code: code, Permanent: code == outbox.NoResource, Err: fmt.Errorf("log group %s: %w", group, err)}
	}
	n.logs.Stream(group, l.Group).Append(l.Accepted, string(l.Body))
	return nil
}

// ownBuses are the buses of this server for those who are open before them. It implements destination.Buses.
type ownBuses struct {
	open chan struct{} // closed when is is set
	is   *eventbridge.Server
}

// PutEvent implements destination.Buses.
func (b *ownBuses) PutEvent(ctx context.Context, e *destination.BusEvent) error {
	select {
	case <-b.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	at := e.Time
	if at.IsZero() {
		at = time.Now()
	}
	err := b.is.Put(ctx, &eventbridge.Event{Bus: e.Bus, Source: e.Source, DetailType: e.DetailType, Detail: e.Detail,
		Resources: e.Resources, Time: at, Trace: e.Trace})
	if errors.Is(err, eventbridge.ErrNoBus) {
		return &async.PermanentError{Err: fmt.Errorf("%s: %w; if it is another server's, say where that is with AWS_ENDPOINT_URL_EVENTBRIDGE", e.Bus, err)}
	}
	return err
}
