// Package trace is what a trace says of an invocation: which trace it belongs to, whether it is sampled, and the segments that
// the platform makes of it. It does no I/O, but for Queue, which hands segments to whoever sends them.
//
//	header of the sender -> Admit -> header of the function       (every invocation)
//	timings -> segments -> X-Ray documents, OpenTelemetry spans   (those that are recorded)
//
// What is recorded of an invocation:
//
//	AWS::Lambda            the invocation as its sender sees it; of an asynchronous one, all of its attempts
//	  Dwell Time           in the queue, before the first attempt
//	  Attempt #1 ...       asynchronous
//	  AWS::Lambda::Function    what one environment did for it
//	    Initialization, Restore    of the environment, with its first invocation
//	    Invocation         the handler; what the function itself records is below it
//	    Overhead           from the answer until runtime and extensions are ready for the next invocation
//
// The two segments are sent apart: one ends with the answer, the other when the environment has come to rest. Ids are
// derived from the id of the request, so that parts that are made in different places, or by a server that was started
// again, name each other.
//
// Source: AWS X-Ray Developer Guide, Tracing header, Segment documents; Lambda Developer Guide, AWS X-Ray; spec 2.4, 4.4.
package trace

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"thaw/function"
)

// Active is the TracingConfig under which the platform records invocations. Under PassThrough it hands the sender's header
// on, and makes one where there is none.
const Active = "Active"

// NewRoot draws the id of a trace that begins now.
func NewRoot() string {
	var b [12]byte
	rand.Read(b[:])                                                                      // never fails: crypto/rand
	return fmt.Sprintf("1-%08x-%s", uint32(time.Now().Unix()), hex.EncodeToString(b[:])) //nolint:gosec // until 2106
}

// NewID draws the id of a segment.
func NewID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// attemptIDs are the ids of an attempt, from 1 on, of an asynchronous invocation; 0: of a synchronous one. Service is the
// attempt's then.
func attemptIDs(requestID string, attempt int) function.Segments {
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(append(append(b, requestID...), ' '), int64(attempt), 10)
	sum := sha256.Sum256(b)
	all := hex.EncodeToString(sum[:24])
	return function.Segments{Service: all[:16], Function: all[16:32], Invocation: all[32:]}
}

// ServiceID is the id of the segment of a request as its sender sees it.
func ServiceID(requestID string) string { return attemptIDs(requestID, 0).Service }

// partID is the id of a part of a segment.
func partID(segment, part string) string {
	sum := sha256.Sum256([]byte(segment + " " + part))
	return hex.EncodeToString(sum[:8])
}

// Complete gives a header what it lacks: a trace, a parent, a decision. That the service does so whatever TracingConfig
// says is documented; the members and their order are as seen in functions with PassThrough.
func Complete(given string) string {
	h := ParseHeader(given)
	if h.Root == "" {
		h = Header{Root: NewRoot(), Parent: NewID(), Sampled: NotSampled, More: h.More} // the guard against loops goes by the lineage
	}
	if h.Parent == "" {
		h.Parent = NewID()
	}
	if h.Sampled != Sampled {
		h.Sampled = NotSampled
	}
	return h.String()
}

// Admit decides about an invocation. The header is what the function gets, and segments are empty unless the invocation is
// recorded. A sender's decision holds; where it made none, sample decides, under Active only.
func Admit(tracing, given, requestID string, attempt int, sample func() bool) (header string, segments function.Segments) {
	if tracing != Active {
		return Complete(given), function.Segments{}
	}
	h := Decide(given, sample)
	if h.Sampled == Sampled {
		segments = attemptIDs(requestID, attempt)
		h.Parent = segments.Invocation
	}
	if h.Parent == "" {
		h.Parent = NewID()
	}
	return h.String(), segments
}

// Decide is the header of an invocation of a function that traces actively, with its trace and with the decision about it.
func Decide(given string, sample func() bool) Header {
	h := ParseHeader(given)
	if h.Root == "" {
		h = Header{Root: NewRoot(), Sampled: h.Sampled, More: h.More}
	}
	if h.Sampled == Undecided || h.Sampled == Asked {
		h.Sampled = NotSampled
		if sample() {
			h.Sampled = Sampled
		}
	}
	return h
}
