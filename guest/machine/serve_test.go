package machine

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// asking opens a connection on which the host asks, and pings; the channel gets the time of the answer.
func asking(t *testing.T, m *machine) (net.Conn, <-chan time.Time) {
	ours, theirs := net.Pipe()
	go m.answering(theirs)()
	answered := make(chan time.Time, 1)
	go func() {
		if err := wire.NewWriter(ours).Send(control.KindPing, nil, nil); err != nil {
			return
		}
		if _, err := wire.NewReader(ours).Next(); err == nil {
			answered <- time.Now()
		}
	}()
	synctest.Wait()
	return ours, answered
}

// A connection is answered when the one before has ended: after a restore the kernel resets both, and an answer on the
// second before that would be believed.
func TestAnswersComeAfterTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		first, answered := asking(t, m)
		if len(answered) != 1 {
			t.Fatal("the first connection is not answered")
		}
		second, answered := asking(t, m)
		if len(answered) > 0 {
			t.Error("a second connection is answered while the first is open")
		}
		second.Close() // the reset reaches both
		first.Close()
		synctest.Wait()
		third, answered := asking(t, m)
		if len(answered) != 1 {
			t.Error("after the reset nobody is answered")
		}
		began := time.Now()
		last, answered := asking(t, m) // a connection that does not end holds up nobody for ever
		if at := <-answered; at.Sub(began) != resetPatience {
			t.Errorf("it is answered after %v", at.Sub(began))
		}
		third.Close()
		last.Close()
		synctest.Wait()
	})
}
