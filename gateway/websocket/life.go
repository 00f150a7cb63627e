package websocket

import "fmt"

// State is where a connection is in its life.
type State uint8

// The states of a connection.
const (
	Opening   State = iota // $connect runs, the client waits for the answer to its handshake
	Connected              // messages go both ways
	Closing                // our close frame is on its way, nothing is sent behind it; the client's is waited for
	Gone                   // nothing follows
	numStates
)

// Event is something that happens to a connection.
type Event uint8

// The events of a connection.
const (
	Accepted        Event = iota // $connect has, and the handshake is answered
	Refused                      // by $connect, or before it was asked
	AnswerLost                   // $connect has accepted, and the client was gone before it was told
	ClientClosed                 // its close frame came
	ClientLost                   // the transport ended without one
	IdleExpired                  // nothing went either way for too long
	LifeOver                     // it is as old as a connection may become
	TooBig                       // a frame or a message is
	NotText                      // a binary message where those are refused, or text that is none
	BadFrames                    // what came is no WebSocket
	Deleted                      // through the management API
	StageRemoved                 // or the whole API
	ServerStops                  //
	ReceiverStalled              // the client does not read what is sent to it
	GraceOver                    // the client's close frame does not come
	numEvents
)

// Action is what follows from an event.
type Action uint8

// The actions.
const (
	SendClose    Action = iota // behind what is queued, and wait for the client's
	HangUp                     // close the transport
	TellFunction               // $disconnect
)

// Next is the whole life of a connection: no I/O, no clock, no lock. Events that come too late change nothing.
func Next(s State, e Event) (State, []Action) {
	switch s {
	case Opening:
		switch e {
		case Accepted:
			return Connected, nil
		case Refused:
			return Gone, nil
		case AnswerLost:
			return Gone, []Action{TellFunction}
		}
	case Connected:
		switch e {
		case IdleExpired, LifeOver, TooBig, NotText, BadFrames, Deleted, StageRemoved, ServerStops:
			return Closing, []Action{SendClose}
		case ClientClosed, ClientLost, ReceiverStalled:
			return Gone, []Action{HangUp, TellFunction}
		}
	case Closing:
		switch e {
		case ClientClosed, ClientLost, BadFrames, TooBig, NotText, ReceiverStalled, GraceOver:
			return Gone, []Action{HangUp, TellFunction}
		}
	}
	return s, nil
}

// Ending is what client and $disconnect are told of an end.
type Ending struct {
	Status int // RFC 6455, 7.4
	Reason string
}

// endings by the event that began the end. Of ClientClosed it is what the client said.
var endings = map[Event]Ending{
	AnswerLost:      {1006, "Connection closed abnormally"},
	ClientLost:      {1006, "Connection closed abnormally"},
	IdleExpired:     {1001, "Going away"},
	LifeOver:        {1001, "Going away"},
	TooBig:          {1009, "Message too long"},
	NotText:         {1003, "Binary data is not supported"},
	BadFrames:       {1002, "Protocol error"},
	Deleted:         {1000, "Connection Closed Normally"},
	StageRemoved:    {1001, "Going away"},
	ServerStops:     {1001, "Going away"},
	ReceiverStalled: {1006, "Connection closed abnormally"},
}

var stateNames = [numStates]string{"Opening", "Connected", "Closing", "Gone"}

func (s State) String() string { return stateNames[s] }

var eventNames = [numEvents]string{"Accepted", "Refused", "AnswerLost", "ClientClosed", "ClientLost", "IdleExpired",
	"LifeOver", "TooBig", "NotText", "BadFrames", "Deleted",
	"StageRemoved", "ServerStops", "ReceiverStalled", "GraceOver"}

func (e Event) String() string { return eventNames[e] }

func (a Action) String() string {
	switch a {
	case SendClose:
		return "SendClose"
	case HangUp:
		return "HangUp"
	case TellFunction:
		return "TellFunction"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}
