package poller

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"thaw/eventsource"
)

// lose gives records up: the failure destination is told, and then they are done with. A destination that cannot be told
// is tried again as long as their shards are read: they are lost only when nobody wants to hear of it.
func (ln *lane) lose(l eventsource.Loss, a attempt) {
	if ln.s.tell(l, a, func(at time.Time) bool {
		ln.pause(eventsource.Batch{Records: l.Records, NotUntil: at})
		return len(ln.alive(l.Records)) > 0
	}) {
		ln.settle(l.Records)
	}
}

// lose gives messages up: the failure destination is told, and then the queue. When the session ends before that, somebody
// gets them once more.
func (q *queuePollers) lose(l eventsource.Loss, a attempt) {
	if !q.tell(l, a, func(at time.Time) bool { return wait(q.ctx, time.Until(at)) }) {
		q.release(l.Records)
		return
	}
	if q.traits.Oversized != "" {
		q.giveBack(l.Records, eventsource.Lost)
	} else {
		q.acknowledge(l.Records)
	}
}

// tell tells the failure destination of what is given up, as often as it takes. again waits, and says whether that is of
// use; otherwise nobody was told.
func (s *session) tell(l eventsource.Loss, a attempt, again func(at time.Time) bool) bool {
	s.s.o.Log.Warn("event source mapping: records are given up", "mapping", s.m.ID, "fn", s.m.Function.Name, "records", len(l.Records), "condition", l.Condition,
		"attempts", l.Attempts)
	if to := s.m.Options.OnFailure; to != "" && l.Condition != "" {
		f := s.failure(l, a)
		for failures := 1; ; failures++ {
			err := s.deliver(to, f)
			if err == nil {
				s.s.o.Metrics.Delivered(s.m, len(l.Records))
				break
			}
			s.s.o.Log.Warn("event source mapping: the failure destination cannot be told", "mapping", s.m.ID, "destination", to, "error", err)
			s.o.kept.note(OfDestination, "The failure destination "+to+" cannot be reached.", err)
			s.o.result("PROBLEM: The failure destination cannot be reached")
			if !again(time.Now().Add(s.policy.Delays.After(failures))) {
				return false
			}
		}
	}
	s.s.o.Metrics.Dropped(s.m, len(l.Records))
	return true
}

// failure is what a destination is told.
func (s *session) failure(l eventsource.Loss, a attempt) *eventsource.Failure {
	f := &eventsource.Failure{Mapping: s.m, Records: l.Records, Condition: l.Condition, Attempts: l.Attempts, RequestID: a.requestID, Response: a.response,
		At: time.Now(), Payload: s.src.Envelope.Event(l.Records), Object: uuid.NewString()}
	if f.RequestID == "" {
		f.RequestID = uuid.NewString()
	}
	if l.Condition == eventsource.RecordAgeExceeded || l.Condition == eventsource.MaximumPayloadSizeExceeded {
		f.Response = nil
	}
	if s.src.Info != nil {
		f.Member, f.Info = s.src.Info(l.Records)
	}
	return f
}

func (s *session) deliver(to string, f *eventsource.Failure) error {
	ctx, cancel := s.settling()
	defer cancel()
	if strings.HasPrefix(to, "kafka://") && s.src.Deliver != nil {
		return s.src.Deliver(ctx, f)
	}
	return s.s.o.Sender.Send(ctx, to, f)
}
