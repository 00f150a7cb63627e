package node

import (
	"context"
	"net/http"

	"golang.org/x/sys/unix"

	"thaw/api"
	"thaw/gateway/websocket"
)

// openSockets opens the connections of WebSocket APIs, which the gateway finds.
func (n *Node) openSockets(_ context.Context, shared pushParts) (pushSource, error) {
	n.sockets = websocket.Open(websocket.Options{Records: n.gateway.Records, Functions: shared.functions, APIs: n.gateway,
		Templates: n.gateway.Templates,
		Sender:    n.api.Sender, Log: n.log, MaxConnections: maxSockets(), TextAlone: n.cfg.Strict})
	n.gateway.Sockets = n.sockets.ServePlace
	n.undo.Add(func() error { // when opening fails; Close has waited already
		n.closeSockets(context.Background())
		return nil
	})
	return pushSource{fronts: []api.Front{n.sockets}}, nil
}

// closeSockets ends all connections. It waits for their $disconnect functions, for no more than half of the time that
// there is.
func (n *Node) closeSockets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout/2)
	defer cancel()
	if err := n.sockets.Close(ctx); err != nil {
		n.log.Warn("WebSocket APIs", "error", err)
	}
}

// maxSockets bounds the connections of WebSocket APIs: of the descriptors that a process may have, a part is left to all
// else.
func maxSockets() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	const most = 1 << 20
	return int(min(max(l.Cur-l.Cur/4, 2*4096)-4096, most)) //nolint:gosec // at most 2^20
}

// hostOfFront refuses requests in the path form under names that are not this server's. Functions know it by another
// name, and what they send is judged by its signature.
func (n *Node) hostOfFront(r *http.Request) error {
	if n.api.URLDoor.Host == nil || api.MustBeSigned(r) {
		return nil
	}
	return n.api.URLDoor.Host(r)
}
