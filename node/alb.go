package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"thaw/admin"
	"thaw/alb"
	"thaw/api"
	"thaw/function"
	"thaw/internal/door"
	"thaw/jetstream"
)

// openBalancers opens the load balancers in front of functions.
func (n *Node) openBalancers(ctx context.Context, shared pushParts) (pushSource, error) {
	docs, err := shared.records.Documents(ctx, jetstream.Balancers)
	if err != nil {
		return pushSource{}, err
	}
	s, err := alb.Open(ctx, alb.Options{Records: docs, Functions: shared.functions, Log: n.log, Listen: n.listenFor, Host: n.hostOfFront})
	if err != nil {
		return pushSource{}, err
	}
	n.undo.Add(func() error { s.Close(); return nil })
	a := balancersAdmin{n, s}
	return pushSource{fronts: []api.Front{s}, triggers: a.list, makers: map[string]triggerMaker{"alb": {a.add, s.Remove}}}, nil
}

// listenFor serves a port of the address that the server listens on.
func (n *Node) listenFor(port int, h http.Handler) (io.Closer, error) {
	host, _, err := net.SplitHostPort(n.cfg.Listen)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return door.Serve(l, h, door.Options{MaxConnections: maxConnections(), Busy: api.TooManyConnections,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}), nil
}

// balancersAdmin shows load balancers as triggers.
type balancersAdmin struct {
	n *Node
	s *alb.Service
}

func (a balancersAdmin) list() (list []admin.Trigger) {
	for _, i := range a.s.List() {
		t := a.shown(i.Balancer)
		t.Events, t.Last, t.Trouble, t.Troubled = i.Requests, i.Last, i.Trouble.What, i.Trouble.When
		list = append(list, t)
	}
	return list
}

func (a balancersAdmin) shown(b *alb.Balancer) admin.Trigger {
	at := a.n.Endpoint() + alb.Path + b.Name + "/"
	if b.Port != 0 {
		host, _, _ := net.SplitHostPort(a.n.Addr()) //nolint:errcheck // the server listens on it
		at = "http://" + net.JoinHostPort(host, strconv.Itoa(b.Port)) + "/"
	}
	return admin.Trigger{Kind: "alb", Name: b.Name, Region: regionOf(b.Function), Function: string(b.Function), From: b.TargetGroup(), At: at}
}

func (a balancersAdmin) add(ctx context.Context, in admin.NewTrigger) (made admin.MadeTrigger, err error) {
	var set alb.Settings
	if err := json.Unmarshal(in.Settings, &set); err != nil {
		return made, fmt.Errorf("settings: %w", err)
	}
	b, err := a.s.Add(ctx, in.Name, function.ARN(in.Function), set)
	if err != nil {
		return made, err
	}
	return admin.MadeTrigger{Trigger: a.shown(b)}, nil
}
