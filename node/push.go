package node

import (
	"context"

	"thaw/admin"
	"thaw/api"
	"thaw/jetstream"
	"thaw/push"
)

// pushSource is a source of events that come to this server: operations that make it, a front for what it sends, and
// what `thaw trigger` shows and makes of it. Each may be missing. What has an end is in n.undo.
type pushSource struct {
	services []api.Service
	fronts   []api.Front
	triggers func() []admin.Trigger
	makers   map[string]triggerMaker // by kind
}

// pushParts are what sources share that push.
type pushParts struct {
	records   *jetstream.Store
	functions *push.Functions
}

// openPush opens the sources that push. A new one gets its line here.
func (n *Node) openPush(ctx context.Context, store *jetstream.Store) error {
	shared := pushParts{records: store, functions: &push.Functions{Invoker: n.plane.Invoker(), Queue: n.events,
		Enforced: n.api.Enforced, Roles: n.access.TakenBy}}
	for _, open := range []func(context.Context, pushParts) (pushSource, error){n.openGateway, n.openSockets, n.openNotify,
		n.openTopics, n.openBuses, n.openFeed, n.openBalancers} {
		s, err := open(ctx, shared)
		if err != nil {
			return err
		}
		n.api.Services = append(n.api.Services, s.services...)
		n.api.Fronts = append(n.api.Fronts, s.fronts...)
		n.triggers.take(s)
	}
	return nil
}
