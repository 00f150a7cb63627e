package execenv

import "time"

// deadline is the limit of a driver's state.
//
// A server that was stopped for a while, by a signal, a debugger or a host without processor time, finds all its timers
// past at once, and what its guests said meanwhile unread. So a deadline that is noticed late is not reached yet: it is
// given lateGrace, once, in which everything that was said in time is heard.
type deadline struct {
	*time.Timer
	at      time.Time
	granted bool
}

const (
	// lateBy is from when on a deadline is noticed late.
	lateBy = time.Second
	// lateGrace is some thousand times what it takes to read what waits in a socket.
	lateGrace = time.Second
)

func newDeadline() *deadline { return &deadline{Timer: stoppedTimer()} }

// Reset begins the limit anew.
func (l *deadline) Reset(limit time.Duration) {
	l.at, l.granted = time.Now().Add(limit), false
	l.Timer.Reset(limit)
}

// reached says, when its timer has fired, whether the deadline counts.
func (l *deadline) reached(now time.Time) bool {
	if l.granted || now.Sub(l.at) < lateBy {
		return true
	}
	l.granted = true
	l.Timer.Reset(lateGrace)
	return false
}
