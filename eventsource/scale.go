package eventsource

import "time"

// Scale says how many pollers a queue has. It has no clock and no lock.
//
// A queue begins with one poller, and each that finds messages brings another one, up to five; from then on up to five
// more each second (300 a minute), up to 1,250. A poller that finds nothing leaves, but for the least number.
// Source: section 3.2.
type Scale struct {
	least, most int
	perMinute   int
	pollers     int
	allowed     float64 // how many there may be now
	at          time.Time
	start       float64
}

const (
	firstBatches   = 5
	batchesMinute  = 300
	mostBatches    = 1250
	pollerBatches  = 10 // of one provisioned poller
	pollersMinute  = 1000
	defaultPollers = 200
	leastPollers   = 2
	mostMembers    = 100
)

// NewScale makes the scale of a mapping.
func NewScale(m *Mapping, now time.Time) Scale {
	s := Scale{least: 1, most: mostBatches, perMinute: batchesMinute, at: now, start: firstBatches}
	if n := traits[m.Kind].Pollers; n > 0 {
		s.most = n
	}
	if n := m.Options.MaxConcurrency; n > 0 {
		s.most = n
	}
	if p := m.Options.Pollers; p != nil {
		low, high := p.Min, p.Max
		if low == 0 {
			low = leastPollers
		}
		if high == 0 {
			high = max(low, defaultPollers)
		}
		s.least, s.most, s.perMinute = low, high*pollerBatches, pollersMinute
		s.start = float64(low * pollerBatches)
	}
	if m.Source.Queue { // each is a member of the share group, and Kafka lets 200 in
		s.most = min(s.most, mostMembers)
	}
	s.least = min(s.least, s.most)
	s.allowed = min(s.start, float64(s.most))
	return s
}

// Least is how many pollers there always are.
func (s *Scale) Least() int { return s.least }

// Pollers is how many there are.
func (s *Scale) Pollers() int { return s.pollers }

// Add counts a poller.
func (s *Scale) Add() { s.pollers++ }

// Found says that a poller has found messages, and whether another one is to be added.
func (s *Scale) Found(now time.Time) bool {
	if s.pollers < int(s.allowed) {
		s.at = now
		return true
	}
	// All that may run do: the longer, the more there may be.
	s.allowed = min(float64(s.most), s.allowed+now.Sub(s.at).Minutes()*float64(s.perMinute))
	s.at = now
	return s.pollers < int(s.allowed)
}

// Refused says that a function could not be run: there are enough pollers.
func (s *Scale) Refused(now time.Time) { s.allowed, s.at = float64(max(s.pollers, s.least)), now }

// Idle says that a poller has found nothing, and whether it leaves.
func (s *Scale) Idle(now time.Time) bool {
	if s.pollers <= s.least {
		s.allowed, s.at = min(s.start, float64(s.most)), now
		return false
	}
	s.pollers--
	s.allowed, s.at = max(s.start, float64(s.pollers)), now
	s.allowed = min(s.allowed, float64(s.most))
	return true
}
