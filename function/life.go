package function

import "fmt"

// Life is where a version stands between being asked for and being invocable. It is $LATEST's and every published version's.
//
//	Creating --Settled--> Live --UpdateAsked--> Updating --Settled--> Live
//	    |                  ^                       |
//	    |                  |                       +--SettleFailed--> UpdateFailed --UpdateAsked--> Updating
//	    +--SettleFailed--> Failed --UpdateAsked--> Reviving --Settled--> Live
//	                                                   +--SettleFailed--> Failed
//
// What failed for want of something that is there now is prepared once more, without anybody asking:
//
//	Failed --CauseGone--> Creating        UpdateFailed --CauseGone--> Updating
//
// A published version is never updated: it knows Creating, Live and Failed, and with SnapStart also
//
//	Live --Idled--> Inactive --WakeAsked--> Waking --Settled--> Live
//	                    ^----SettleFailed------'
type Life uint8

// The lives. The API shows each as a State and a LastUpdateStatus.
const (
	Creating     Life = iota // being prepared for the first time; never served an invocation. State Pending
	Live                     // serves invocations; may be changed. State Active, LastUpdateStatus Successful
	Updating                 // the configuration before serves; no other change is accepted. State Active, InProgress
	UpdateFailed             // the configuration before still serves; may be changed. State Active, LastUpdateStatus Failed
	Failed                   // cannot serve; may be changed. State Failed
	Reviving                 // a change of a failed one is prepared; cannot serve yet. State Pending, InProgress
	Inactive                 // nobody invoked it for long, its snapshot went; cannot serve, and the next invocation wakes it. State Inactive
	Waking                   // its snapshot is made again; cannot serve yet. State Pending
	numLives
)

var lifeNames = [numLives]string{"creating", "live", "updating", "update-failed", "failed", "reviving", "inactive", "waking"}

func (l Life) String() string {
	if l < numLives {
		return lifeNames[l]
	}
	return fmt.Sprintf("life %d", uint8(l))
}

// MarshalText makes records readable and independent of the order of the constants.
func (l Life) MarshalText() ([]byte, error) {
	if l >= numLives {
		return nil, fmt.Errorf("no such life: %d", uint8(l))
	}
	return []byte(lifeNames[l]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (l *Life) UnmarshalText(b []byte) error {
	for i, n := range lifeNames {
		if n == string(b) {
			*l = Life(i)
			return nil
		}
	}
	return fmt.Errorf("no such life: %q", b)
}

// LifeEvent is what can happen to a version.
type LifeEvent uint8

// The events.
const (
	UpdateAsked  LifeEvent = iota // UpdateFunctionCode or UpdateFunctionConfiguration
	PublishAsked                  // PublishVersion
	Settled                       // everything an environment needs is there
	SettleFailed                  // it is not, and waiting does not help
	Idled                         // nobody invoked it for so long that its snapshot goes
	WakeAsked                     // an invocation of an Inactive one
	CauseGone                     // what it failed for want of is there now
	numLifeEvents
)

var lifeEventNames = [numLifeEvents]string{"update-asked", "publish-asked", "settled", "settle-failed", "idled", "wake-asked", "cause-gone"}

func (e LifeEvent) String() string {
	if e < numLifeEvents {
		return lifeEventNames[e]
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// BadMoveError refuses an event in a life; nothing changes.
type BadMoveError struct {
	From  Life
	Event LifeEvent
}

func (e *BadMoveError) Error() string { return fmt.Sprintf("%s while %s", e.Event, e.From) }

// Next is the whole life of a version.
func (l Life) Next(e LifeEvent) (Life, error) {
	switch e {
	case UpdateAsked:
		switch l {
		case Live, UpdateFailed:
			return Updating, nil
		case Failed:
			return Reviving, nil
		}
	case PublishAsked:
		if l == Live { // what is published must be what serves
			return Live, nil
		}
	case Settled:
		if l.Settling() {
			return Live, nil
		}
	case SettleFailed:
		switch l {
		case Creating, Reviving:
			return Failed, nil
		case Updating:
			return UpdateFailed, nil
		case Waking:
			return Inactive, nil
		}
	case Idled:
		if l == Live {
			return Inactive, nil
		}
	case WakeAsked:
		if l == Inactive {
			return Waking, nil
		}
	case CauseGone:
		switch l {
		case Failed:
			return Creating, nil
		case UpdateFailed:
			return Updating, nil
		}
	}
	return l, &BadMoveError{l, e}
}

// Settling says that somebody must still prepare the version and report Settled or SettleFailed.
func (l Life) Settling() bool { return l == Creating || l == Updating || l == Reviving || l == Waking }

// Serves says that invocations can be answered, if only by the configuration before.
func (l Life) Serves() bool { return l == Live || l == Updating || l == UpdateFailed }

// State is how the API calls where the version stands. Source: control-plane spec, State.
func (l Life) State() string {
	switch l {
	case Creating, Reviving, Waking:
		return "Pending"
	case Failed:
		return "Failed"
	case Inactive:
		return "Inactive"
	}
	return "Active"
}
