package snapshot

import "fmt"

// State is where a version stands with its snapshots.
//
//	None --Asked--> Making --Made--> Verifying --Verified--> Current <-------------------+
//	                  |                  |                     |  \--RefreshDue--> Refreshing --Made--> RefreshVerifying
//	                  +------Failed------+--> Failed           |                      |  Verified: swap ----^   |
//	                                                           |   Failed: keep the old one <-------------------+
//	            Expired; KeyChanged and Lost to Remaking       |
//	   Lapsed <------------------------------------------------+--Idle--> Inactive --Invoked--> Waking --Made--> WakeVerifying
//	     | RefreshDue                                                        ^                    |  Failed         |
//	     v                                                                   +--------------------+-----------------+
//	   Remaking --Made--> RemakeVerifying --Verified--> Current      Current --Evicted--> Shelved --Invoked--> Remaking
//	     |  Failed             |
//	     +-----> Lapsed <------+                     Deleted from anywhere, by DeleteAsked
//
//	None --AskedLater--> Shelved: for those that nobody waits for, $LATEST among them. They are never Making, so never Pending, and never Failed.
//
// A version in a state that has a current generation is restored; in Lapsed and after it runs Init, loudly. In Making, Verifying and
// Waking it is Pending and serves nothing.
type State uint8

// The states.
const (
	None             State = iota // no snapshot, none asked for
	Making                        // the first is made; the version is Pending
	Verifying                     // the first is complete and being verified; the version is Pending
	Current                       // one is current
	Refreshing                    // one is current, the next is made
	RefreshVerifying              // one is current, the next is verified
	Lapsed                        // Active without a usable snapshot: invokes run Init; a retry is due
	Remaking                      // as Lapsed, and one is made
	RemakeVerifying               // as Lapsed, and one is verified
	Failed                        // the first could not be made; the version is Failed. Only DeleteAsked leads out
	Inactive                      // idle for too long, nothing is kept; the next invoke is refused and wakes it
	Waking                        // one is made after Inactive; the version is Pending
	WakeVerifying                 // it is verified; the version is Pending
	Deleted                       // the version is gone. Nothing leads out
	Shelved                       // Active; the snapshot went for want of disk: the next invoke runs Init and has one made
	numStates
)

var stateNames = [numStates]string{"none", "making", "verifying", "current", "refreshing", "refresh-verifying", "lapsed", "remaking",
	"remake-verifying", "failed", "inactive", "waking", "wake-verifying", "deleted", "shelved"}

func (s State) String() string { return nameOf(stateNames[:], uint8(s), "state") }

// HasCurrent says whether a generation is current, and restores may use it.
func (s State) HasCurrent() bool { return s == Current || s == Refreshing || s == RefreshVerifying }

// Busy says whether a generation is being made or verified.
func (s State) Busy() bool {
	switch s {
	case Making, Verifying, Refreshing, RefreshVerifying, Remaking, RemakeVerifying, Waking, WakeVerifying:
		return true
	}
	return false
}

// Pending says whether the version serves nothing yet.
func (s State) Pending() bool {
	return s == Making || s == Verifying || s == Waking || s == WakeVerifying
}

// Event is what can happen to a version's snapshots.
type Event uint8

// The events. MakeFailed is also what becomes of a making that a crash of the server interrupted.
const (
	Asked       Event = iota // PublishVersion
	Made                     // the files of the one being made are committed
	Verified                 // it came up from a restore
	MakeFailed               // making or verifying it failed, or was interrupted
	RefreshDue               // Schedule says that the next is to be made; also `thaw snapshot refresh`
	Expired                  // the current one reached its end
	KeyChanged               // what made the current one, or the one being made, is not what would make one now
	Lost                     // the current one is corrupt, or restores of it fail
	Evicted                  // the current one had to go for want of disk, or by `thaw snapshot rm`
	Idle                     // not invoked for InactiveAfter
	Invoked                  // the version is invoked; only Inactive and Shelved care
	DeleteAsked              // the version is deleted
	AskedLater               // one is wanted that nobody waits for: of $LATEST, or of all versions. Invoked has it made
	numEvents
)

var eventNames = [numEvents]string{"asked", "made", "verified", "make-failed", "refresh-due", "expired", "key-changed", "lost", "evicted",
	"idle", "invoked", "delete-asked", "asked-later"}

func (e Event) String() string { return nameOf(eventNames[:], uint8(e), "event") }

// Action is what is to be done after a move.
type Action uint8

// The actions. What becomes of the version itself (Pending, Active, Failed, Inactive) is the control plane's record, which
// it writes by the answer to what it has asked for. A making that has reported Made goes on to verify by itself.
const (
	StartMaking   Action = iota // Init, hooks, priming, save; then Made or MakeFailed
	AbortMaking                 // end what is under way; its answer will be late and refused
	DropNext                    // delete the files of the one being made
	Swap                        // the one being made is the current one from now on
	RetireCurrent               // no new invoke starts on the current one; its environments finish; then its files go
	WarnInit                    // loudly: invokes run Init from now on
	WarnKept                    // the refresh failed, the old one stays until its end
	numActions
)

var actionNames = [numActions]string{"start-making", "abort-making", "drop-next", "swap", "retire-current", "warn-init", "warn-kept"}

func (a Action) String() string { return nameOf(actionNames[:], uint8(a), "action") }

func nameOf(names []string, i uint8, what string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s %d", what, i)
}

// BadMoveError refuses an event in a state: nothing was done.
type BadMoveError struct {
	State State
	Event Event
}

func (e *BadMoveError) Error() string {
	return fmt.Sprintf("no move for %v in state %v of a snapshot", e.Event, e.State)
}

// Next is the whole life of a version's snapshots: no I/O, no clock, no lock.
func Next(s State, e Event) (State, []Action, error) {
	switch {
	case s >= numStates || e >= numEvents || s == Deleted:
		return s, nil, &BadMoveError{s, e}
	case e == DeleteAsked:
		return Deleted, append(abandon(s), retire(s)...), nil
	case e == Invoked && s == Inactive:
		return Waking, []Action{StartMaking}, nil
	case e == Invoked && s == Shelved:
		return Remaking, []Action{StartMaking}, nil
	case e == Invoked:
		return s, nil, nil
	}
	switch s {
	case None:
		switch e {
		case Asked:
			return Making, []Action{StartMaking}, nil
		case AskedLater:
			return Shelved, nil, nil
		}
	case Making, Waking, Remaking, Refreshing:
		switch e {
		case Made:
			return s.verifying(), nil, nil
		case MakeFailed:
			return fallen(s)
		}
		return disturbed(s, e)
	case Verifying, WakeVerifying, RemakeVerifying, RefreshVerifying:
		switch e {
		case Verified:
			return settled(s)
		case MakeFailed:
			to, do, err := fallen(s)
			return to, append([]Action{DropNext}, do...), err
		}
		return disturbed(s, e)
	case Current:
		switch e {
		case RefreshDue:
			return Refreshing, []Action{StartMaking}, nil
		case Expired:
			return Lapsed, []Action{RetireCurrent, WarnInit}, nil
		case Evicted:
			return Shelved, []Action{RetireCurrent}, nil
		case KeyChanged, Lost:
			return Remaking, []Action{RetireCurrent, WarnInit, StartMaking}, nil
		case Idle:
			return Inactive, []Action{RetireCurrent}, nil
		}
	case Lapsed, Shelved:
		switch e {
		case RefreshDue:
			return Remaking, []Action{StartMaking}, nil
		case KeyChanged: // there is nothing that it concerns
			return s, nil, nil
		case Idle:
			return Inactive, nil, nil
		}
	}
	return s, nil, &BadMoveError{s, e}
}

// settled is where a verified snapshot leads.
func settled(s State) (State, []Action, error) {
	if s == RefreshVerifying {
		return Current, []Action{RetireCurrent, Swap}, nil // one write of the record: no moment has none
	}
	return Current, []Action{Swap}, nil
}

// fallen is where a failed making leads.
func fallen(s State) (State, []Action, error) {
	switch s {
	case Making, Verifying:
		return Failed, nil, nil
	case Waking, WakeVerifying:
		return Inactive, nil, nil // as a failed regeneration does. Source: execution-environment.md 5.2
	case Refreshing, RefreshVerifying:
		return Current, []Action{WarnKept}, nil
	}
	return Lapsed, []Action{WarnInit}, nil
}

// disturbed is what else can happen while one is made.
func disturbed(s State, e Event) (State, []Action, error) {
	refreshing := s == Refreshing || s == RefreshVerifying
	switch {
	case refreshing && (e == Expired || e == Lost || e == Evicted):
		// The old one goes; what is made goes on, now without a net.
		to := Remaking
		if s == RefreshVerifying {
			to = RemakeVerifying
		}
		return to, []Action{RetireCurrent, WarnInit}, nil
	case refreshing && e == KeyChanged:
		return Remaking, append(abandon(s), RetireCurrent, WarnInit, StartMaking), nil
	case e == KeyChanged: // what is made would not be used: once more, under the new key
		return s.making(), append(abandon(s), StartMaking), nil
	case e == RefreshDue:
		return s, nil, nil // that is what is happening
	}
	return s, nil, &BadMoveError{s, e}
}

// steps are the states in which one is made, and in which it is then verified.
var steps = [...]struct{ making, verifying State }{{Making, Verifying}, {Refreshing, RefreshVerifying}, {Remaking, RemakeVerifying},
	{Waking, WakeVerifying}}

// verifying is the state in which what is made in this one is verified.
func (s State) verifying() State {
	for _, st := range steps {
		if st.making == s {
			return st.verifying
		}
	}
	return s
}

// making is the state in which what is verified in this one was made.
func (s State) making() State {
	for _, st := range steps {
		if st.verifying == s {
			return st.making
		}
	}
	return s
}

// abandon is how a making ends that is not wanted any more.
func abandon(s State) []Action {
	switch {
	case !s.Busy():
		return nil
	case s == s.making(): // no file is committed yet
		return []Action{AbortMaking}
	}
	return []Action{AbortMaking, DropNext}
}

func retire(s State) []Action {
	if s.HasCurrent() {
		return []Action{RetireCurrent}
	}
	return nil
}

// MarshalText makes records readable and independent of the order of the constants.
func (s State) MarshalText() ([]byte, error) {
	if s >= numStates {
		return nil, fmt.Errorf("no such state: %d", uint8(s))
	}
	return []byte(stateNames[s]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("no such state of a snapshot: %q", b)
}
