package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"

	"thaw/admin"
	"thaw/api"
	"thaw/destination"
	"thaw/function"
	"thaw/jetstream"
	"thaw/push"
	"thaw/sns"
)

// ownTopics are this server's topics, for those who were opened before them.
type ownTopics struct{ server atomic.Pointer[sns.Server] }

// ToTopic implements push.Topics.
func (o *ownTopics) ToTopic(ctx context.Context, m *push.TopicMessage) (bool, error) {
	s := o.server.Load()
	if s == nil { // this server starts: whoever sends tries again
		return true, errors.New("this server is starting")
	}
	return s.ToTopic(ctx, m)
}

// openTopics opens SNS.
func (n *Node) openTopics(ctx context.Context, p pushParts) (pushSource, error) {
	records, err := p.records.Documents(ctx, jetstream.Topics)
	if err != nil {
		return pushSource{}, err
	}
	loopback, err := n.cfg.loopback()
	if err != nil {
		return pushSource{}, err
	}
	base, err := n.base()
	if err != nil {
		return pushSource{}, err
	}
	s, err := sns.Open(ctx, sns.Options{Records: records, Mailbox: n.backlog.Mailbox("sns"), Functions: p.functions, Queues: &destination.Sender{}, AccountID: n.cfg.AccountID,
		Dir: filepath.Join(n.cfg.DataDir, "sns"), Base: func() string { return base }, LocalEndpoints: loopback, AnyEndpoints: n.cfg.SNSLocalEndpoints, Log: n.log, Now: n.cfg.now})
	if err != nil {
		return pushSource{}, err
	}
	n.undo.Add(s.Close)
	n.topics.server.Store(s)
	a := topicsAdmin{base, s}
	return pushSource{services: []api.Service{s}, fronts: []api.Front{s}, triggers: a.list, makers: map[string]triggerMaker{"sns": {a.add, s.Forget}}}, nil
}

// topicsAdmin shows topics elsewhere that send to functions, and functions that are subscribed to topics here, as triggers.
type topicsAdmin struct {
	base string
	s    *sns.Server
}

func (a topicsAdmin) list() (list []admin.Trigger) {
	for _, x := range a.s.Subscribers() {
		list = append(list, a.shown(x.Name, x.Function, x.Topic, a.s.CountOf(x.Name)))
	}
	for _, f := range a.s.ToFunctions() {
		t := a.shown(f.Subscription[len(f.Topic)+1:], f.Function, f.Topic, f.Count)
		t.Kind, t.At, t.Managed = "topic", "", true
		list = append(list, t)
	}
	return list
}

func (a topicsAdmin) shown(name, fn, topic string, c sns.Count) admin.Trigger {
	return admin.Trigger{Kind: "sns", Name: name, Region: regionOf(function.ARN(fn)), Function: fn, From: topic, At: a.base + sns.Path + name,
		Events: c.Events, Last: c.Last, Trouble: c.Trouble, Troubled: c.Troubled}
}

func (a topicsAdmin) add(ctx context.Context, in admin.NewTrigger) (made admin.MadeTrigger, err error) {
	var set sns.Settings
	if err := json.Unmarshal(in.Settings, &set); err != nil {
		return made, fmt.Errorf("settings: %w", err)
	}
	at, secret, err := a.s.Make(ctx, in.Name, in.Function, set)
	if err != nil {
		return made, err
	}
	made = admin.MadeTrigger{Trigger: a.shown(in.Name, in.Function, set.Topic, sns.Count{}), Token: secret}
	made.At = at
	return made, nil
}

// base is what others call this server by: SCHEME://HOST[:PORT].
func (n *Node) base() (string, error) {
	names, err := n.cfg.urlNames(n.listener.Addr().String())
	if err != nil {
		return "", err
	}
	host := names.Domain
	if names.Port != "" {
		host = net.JoinHostPort(host, names.Port)
	}
	scheme := names.Scheme
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + host, nil
}
