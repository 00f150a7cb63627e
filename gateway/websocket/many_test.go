package websocket

import (
	"context"
	"sync"
	"testing"
	"time"

	ws "github.com/gorilla/websocket"
)

// Hundreds of connections end with the server: each client is told 1001, each end is told to the function, once.
func TestManyConnectionsEndWithTheServer(t *testing.T) {
	t.Parallel()
	const many = 400 // both ends are this process
	w := newWorld(t, nil)
	var clients sync.WaitGroup
	var mu sync.Mutex
	ended := 0
	for range 8 {
		clients.Go(func() {
			var mine sync.WaitGroup
			for range many / 8 {
				d := &ws.Dialer{ReadBufferSize: 256, WriteBufferSize: 256, HandshakeTimeout: time.Minute}
				c, _, err := d.Dial(w.url("ws", "/prod"), nil)
				if err != nil {
					t.Error(err)
					break
				}
				mine.Go(func() {
					defer c.Close()
					if _, _, err := c.ReadMessage(); ws.IsCloseError(err, ws.CloseGoingAway) {
						mu.Lock()
						ended++
						mu.Unlock()
					}
				})
			}
			mine.Wait()
		})
	}
	w.until("all are open", func() bool { return w.s.Connections() == many && len(w.seen("CONNECT")) == many })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	if err := w.s.Close(ctx); err != nil {
		t.Error(err)
	}
	t.Log("ended within", time.Since(began))
	clients.Wait()
	if n := len(w.seen("DISCONNECT")); ended != many || n != many {
		t.Errorf("%d clients were told, and %d ends the function", ended, n)
	}
}
