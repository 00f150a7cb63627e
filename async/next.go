package async

import (
	"fmt"
	"time"

	"thaw/function"
)

// Happening is what an event has just met.
type Happening uint8

// What an event can meet.
const (
	Due           Happening = iota // it is its turn: nothing was tried yet, or the wait for another attempt is over
	Succeeded                      // the function answered
	FunctionErred                  // it raised, timed out, crashed
	Throttled                      // no concurrency was free; nothing ran
	PlatformErred                  // the platform could not run it; nothing of it is the function's doing
	NoConcurrency                  // the function's reserved concurrency is 0
	Looped                         // the guard against loops stopped it; nothing ran
	FunctionGone                   // nothing answers to the name any more
	numHappenings
)

var happeningNames = [numHappenings]string{"due", "succeeded", "function-erred", "throttled", "platform-erred", "no-concurrency", "looped", "function-gone"}

func (h Happening) String() string {
	if h < numHappenings {
		return happeningNames[h]
	}
	return fmt.Sprintf("happening %d", uint8(h))
}

// Step is what becomes of an event.
type Step uint8

// The steps.
const (
	Run     Step = iota // have the function run
	Again               // wait, and try again; an attempt was counted
	BackOff             // wait, and try again; nothing was counted, because nothing ran
	Succeed             // tell the success destination, if there is one, and forget it
	Fail                // tell the dead-letter queue and the failure destination, and forget it
	Drop                // forget it: nobody is left to tell
	numSteps
)

var stepNames = [numSteps]string{"run", "again", "back-off", "succeed", "fail", "drop"}

func (s Step) String() string {
	if s < numSteps {
		return stepNames[s]
	}
	return fmt.Sprintf("step %d", uint8(s))
}

// Condition is AWS's word for how an event ended. It stands in what destinations get.
type Condition string

// The conditions. Source: Lambda Developer Guide, asynchronous invocation, destinations; recorded answers.
const (
	Success                 Condition = "Success"
	RetriesExhausted        Condition = "RetriesExhausted"
	EventAgeExceeded        Condition = "EventAgeExceeded"
	ZeroReservedConcurrency Condition = "ZeroReservedConcurrency"
)

// Tried is what is known of an event's past.
type Tried struct {
	Accepted time.Time     // its age counts from here
	Attempts int           // that reached the function, the one that just ended included
	BackOff  time.Duration // the last wait for want of concurrency or platform; 0: there was none
}

// Delays are the waits between attempts.
type Delays struct {
	Retry        []time.Duration // before the second attempt, before the third; the last one stands for all others
	First, Limit time.Duration   // of the waits that double
}

// AWSDelays are the service's: one minute, then two; from one second to five minutes. Source: Lambda Developer Guide,
// "How Lambda handles errors and retries with asynchronous invocation".
func AWSDelays() Delays {
	return Delays{Retry: []time.Duration{time.Minute, 2 * time.Minute}, First: time.Second, Limit: 5 * time.Minute}
}

// Decision is what Next decides.
type Decision struct {
	Step      Step
	At        time.Time     // of Again and BackOff
	BackOff   time.Duration // of BackOff: what to say in Tried the next time
	Condition Condition     // of Succeed and Fail
}

// Next decides what becomes of an event. It has no clock, no I/O and no memory.
//
// A function's own error is looked at with foresight: when the age limit would pass before the next attempt, there is
// none. The wait for concurrency or for the platform is cut short to the age limit instead. Source: C-090 to C-094.
func Next(t Tried, h Happening, p function.AsyncPolicy, d Delays, now time.Time) Decision {
	end := t.Accepted.Add(p.MaxAge)
	switch h {
	case Due:
		if !now.Before(end) {
			return Decision{Step: Fail, Condition: EventAgeExceeded}
		}
		return Decision{Step: Run}
	case Succeeded:
		return Decision{Step: Succeed, Condition: Success}
	case FunctionErred:
		if t.Attempts > p.MaxRetries {
			return Decision{Step: Fail, Condition: RetriesExhausted}
		}
		at := now.Add(d.retry(t.Attempts))
		if !at.Before(end) {
			return Decision{Step: Fail, Condition: EventAgeExceeded}
		}
		return Decision{Step: Again, At: at}
	case Throttled, PlatformErred:
		if !now.Before(end) {
			return Decision{Step: Fail, Condition: EventAgeExceeded}
		}
		wait := min(max(2*t.BackOff, d.First), d.Limit)
		at := now.Add(wait)
		if at.After(end) {
			at = end
		}
		return Decision{Step: BackOff, At: at, BackOff: wait}
	case NoConcurrency:
		return Decision{Step: Fail, Condition: ZeroReservedConcurrency}
	case Looped: // that it goes to whoever is told of failures is documented, the condition is not
		return Decision{Step: Fail, Condition: RetriesExhausted}
	}
	return Decision{Step: Drop}
}

// retry is the wait after so many attempts.
func (d Delays) retry(attempts int) time.Duration {
	return d.Retry[min(max(attempts, 1), len(d.Retry))-1]
}
