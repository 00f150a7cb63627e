package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"thaw/admin"
	"thaw/api"
	"thaw/function"
	"thaw/jetstream"
	"thaw/notify"
	"thaw/objects"
)

// triggerMaker makes and removes triggers of one kind.
type triggerMaker struct {
	add    func(context.Context, admin.NewTrigger) (admin.MadeTrigger, error)
	remove func(ctx context.Context, name string) error
}

// triggers implements admin.Triggers for all sources that push.
type triggers struct {
	lists  []func() []admin.Trigger
	makers map[string]triggerMaker
}

func (t *triggers) take(s pushSource) {
	if s.triggers != nil {
		t.lists = append(t.lists, s.triggers)
	}
	if t.makers == nil {
		t.makers = map[string]triggerMaker{}
	}
	maps.Copy(t.makers, s.makers)
}

// List implements admin.Triggers.
func (t *triggers) List(context.Context) (all []admin.Trigger, err error) {
	for _, list := range t.lists {
		all = append(all, list()...)
	}
	slices.SortStableFunc(all, func(a, b admin.Trigger) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return all, nil
}

func (t *triggers) maker(kind string) (triggerMaker, error) {
	m, ok := t.makers[kind]
	if !ok {
		return m, fmt.Errorf("%q is no kind of trigger that is made here: %s are; the others are made by the operations of their service", kind,
			strings.Join(slices.Sorted(maps.Keys(t.makers)), ", "))
	}
	return m, nil
}

// Add implements admin.Triggers.
func (t *triggers) Add(ctx context.Context, in admin.NewTrigger) (admin.MadeTrigger, error) {
	m, err := t.maker(in.Kind)
	if err != nil {
		return admin.MadeTrigger{}, err
	}
	return m.add(ctx, in)
}

// Remove implements admin.Triggers.
func (t *triggers) Remove(ctx context.Context, kind, name string) error {
	m, err := t.maker(kind)
	if err != nil {
		return err
	}
	return m.remove(ctx, name)
}

// openNotify takes notifications of S3, from servers of objects and from folders.
func (n *Node) openNotify(ctx context.Context, shared pushParts) (pushSource, error) {
	records, err := shared.records.Documents(ctx, jetstream.Triggers)
	if err != nil {
		return pushSource{}, err
	}
	s, err := notify.Open(ctx, notify.Options{Records: records, Functions: shared.functions,
		Dir: filepath.Join(n.cfg.DataDir, "triggers"), Log: n.log})
	if err != nil {
		return pushSource{}, err
	}
	n.undo.Add(func() error { s.Close(); return nil })
	a := notifyAdmin{n, s}
	return pushSource{services: []api.Service{&objects.Server{Buckets: s}}, fronts: []api.Front{s}, triggers: a.list, makers: map[string]triggerMaker{
		string(notify.Webhook): {a.add, func(ctx context.Context, name string) error { return s.Remove(ctx, notify.Webhook, name) }},
		string(notify.Folder):  {a.add, func(ctx context.Context, name string) error { return s.Remove(ctx, notify.Folder, name) }},
	}}, nil
}

// notifyAdmin shows notifications of S3 as triggers.
type notifyAdmin struct {
	n *Node
	s *notify.Service
}

func (a notifyAdmin) list() (list []admin.Trigger) {
	for _, i := range a.s.List() {
		t := a.shown(i.Trigger)
		t.Events, t.Last, t.Trouble, t.Troubled = i.Events, i.Last, i.Trouble, i.Troubled
		list = append(list, t)
	}
	return list
}

func (a notifyAdmin) shown(t *notify.Trigger) admin.Trigger {
	out := admin.Trigger{Kind: string(t.Kind), Name: t.Name, Region: regionOf(t.Function), Function: string(t.Function),
		From: cmp.Or(t.Filter.Bucket, t.Bucket, "*") + "/" + t.Filter.Prefix + "*" + t.Filter.Suffix, At: t.Dir}
	if t.Kind == notify.Webhook {
		out.At = a.n.Endpoint() + notify.Path + t.Name
	}
	return out
}

func regionOf(fn function.ARN) string {
	if parts := strings.SplitN(string(fn), ":", 5); len(parts) == 5 {
		return parts[3]
	}
	return ""
}

func (a notifyAdmin) add(ctx context.Context, in admin.NewTrigger) (made admin.MadeTrigger, err error) {
	var set notify.Settings
	if err := json.Unmarshal(in.Settings, &set); err != nil {
		return made, fmt.Errorf("settings: %w", err)
	}
	t, token, err := a.s.Add(ctx, notify.Kind(in.Kind), in.Name, function.ARN(in.Function), set)
	if err != nil {
		return made, err
	}
	return admin.MadeTrigger{Trigger: a.shown(t), Token: token}, nil
}
