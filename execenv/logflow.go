package execenv

import "thaw/guest/wire"

// Output flows only as fast as the log takes it. The guest may have wire.LogWindow of it on its way; what the sink has
// taken is credited when the sink has room. Until then the rest waits in the pipe, and whoever writes into it waits,
// too: under the function's own timeout, like any other slow write. Nothing here waits: the driver goes on taking other
// frames, deadlines and stops.

// flow is what the guest is owed.
type flow struct {
	owed int64           // cost of the output that it has no credit for yet
	room <-chan struct{} // of the sink; nil: not asked for
}

// owe notes output that was handed to the sink. Credit goes out in quarters of the window.
func (d *driver) owe(cost int64) {
	d.owed += cost
	if d.room == nil && d.owed >= wire.LogWindow/4 {
		d.room = d.o.Sink.Room()
	}
}

// creditLog: the sink has room.
func (d *driver) creditLog() {
	d.room = nil
	if d.state == Checkpointing { // nothing may be on its way into a snapshot; a restored guest begins with a whole window
		return
	}
	cost := d.owed
	d.owed = 0
	d.send(wire.KindLogCredit, wire.LogCredit{Cost: cost}, nil)
}
