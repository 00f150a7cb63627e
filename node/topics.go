package node

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"

	"thaw/api"
	"thaw/destination"
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
	return pushSource{services: []api.Service{s}, fronts: []api.Front{s}}, nil
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
