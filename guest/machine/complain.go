package machine

import (
	"io"
	"sync"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// complainLimit bounds how long a machine that cannot be one waits for its host to hear why.
const complainLimit = time.Minute

// complain tells the host why there is no sandbox here: a machine may have no console, and what does not fit (the
// modules of another kernel, above all) is for the operator to know. It returns when that was heard, with the reason.
func complain(why error) error {
	heard := make(chan struct{})
	var once sync.Once
	err := listenAll(map[uint32]taker{
		control.StreamPort: func(c io.ReadWriteCloser) func() { return func() { c.Close() } },
		control.Port: func(c io.ReadWriteCloser) func() {
			return func() {
				if refuseAll(c, why) {
					once.Do(func() { close(heard) })
				}
			}
		},
	})
	if err != nil {
		return why
	}
	select {
	case <-heard:
	case <-time.After(complainLimit):
	}
	return why
}

// refuseAll answers whatever the host asks with the reason, until the connection ends: a machine that ended with its
// answer on the way would take it along. It says whether anything was asked.
func refuseAll(c io.ReadWriteCloser, why error) (asked bool) {
	defer c.Close()
	r, w := wire.NewReader(c), wire.NewWriter(c)
	for {
		if _, err := r.Next(); err != nil {
			return asked
		}
		if w.Send(control.KindFault, control.Fault{Text: why.Error()}, nil) != nil {
			return asked
		}
		asked = true
	}
}
