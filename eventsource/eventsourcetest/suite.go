// Package eventsourcetest holds every source to the contract of eventsource, through the machinery that runs it: a source
// is whole when it passes Run. A fault that one source had becomes a case for all. It also starts the servers that tests
// of sources need (Launch, Maven, Python, Node), and has the smallest sources that keep the contract (Memory).
//
//	func TestConformance(t *testing.T) {
//		eventsourcetest.Run(t, eventsourcetest.Fixture{Driver: ..., New: ..., Put: ..., Seen: ..., Pattern: ...})
//	}
//
// What is put are JSON texts such as {"n":7,"pass":true}, each once. A queue of the fixture should hide messages for two
// seconds or so: what comes again comes after that time.
package eventsourcetest

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"thaw/eventsource"
)

// Fixture is a source in the hands of the suite. Members without a stated default are required.
type Fixture struct {
	Driver eventsource.Driver
	// New makes a source of its own, with a few shards if it has any, and a mapping of it that the driver can open: Kind,
	// Source and whatever else the source needs. The suite sets the rest.
	New func(t testing.TB) *eventsource.Mapping
	// Put gives the source records with a key, in that order.
	Put func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string)
	// Seen reads the event as a handler would: what was put, and what a partial answer names it by.
	Seen func(t testing.TB, event []byte) []Seen
	// Pattern lets only records pass whose body has "pass": true.
	Pattern string

	// Left is how many messages a queue has, hidden ones too. nil: it cannot be asked.
	Left func(t testing.TB, m *eventsource.Mapping) int
	// Split closes the shards of a stream and makes children of each. nil: shards stay as they are.
	Split func(t testing.TB, m *eventsource.Mapping)
	// Stop ends the source's server, Start has it come back with what it had. nil: it cannot be shown.
	Stop, Start func(t testing.TB)
	// Again sets how soon what a queue gave, and was not done with, comes again. A case that waits for that asks for little,
	// all others have what New gave: on a busy machine a short time brings what is merely late twice. nil: it is at once.
	Again func(t testing.TB, m *eventsource.Mapping, after time.Duration)
	// Unordered sources promise no order, whatever the key.
	Unordered bool
	// Virtual: nothing real is waited for, and the cases run in the time of testing/synctest.
	Virtual bool
}

// Seen is one record as a handler got it.
type Seen struct {
	Body string
	ID   json.RawMessage // itemIdentifier
}

// cases are what every source passes. The last ones have the source to themselves.
var cases = []struct {
	name  string
	test  func(t *testing.T, f Fixture)
	alone bool
}{
	{name: "what is put is seen once and in order, from the creation of the mapping to its deletion", test: testStory},
	{name: "what no filter lets pass is not seen, and is done with", test: testFilters},
	{name: "a partial answer has the named records come again", test: testPartial},
	{name: "a poisoned record keeps no other from being seen", test: testPoison},
	{name: "a function that is throttled gets everything later, in order", test: testThrottled},
	{name: "disabled means not one more invoke, and enabled goes on behind what was seen", test: testDisabled},
	{name: "a server that is killed between an invoke and its checkpoint loses nothing", test: testKilled},
	{name: "a mapping whose function is gone rests until it is back", test: testFunctionGone},
	{name: "a batch has no more records than it may", test: testBatchSize},
	{name: "shards that are split while they are read are finished before their children", test: testSplit},
	{name: "the source's server dies and comes back", test: testServerDies, alone: true},
}

// Run holds a source to the contract. Cases that need not be alone run side by side.
func Run(t *testing.T, f Fixture) {
	for _, alone := range []bool{false, true} {
		t.Run(map[bool]string{false: "side by side", true: "alone"}[alone], func(t *testing.T) {
			for _, c := range cases {
				if c.alone != alone {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					if f.Virtual {
						synctest.Test(t, func(t *testing.T) { c.test(t, f) })
						return
					}
					if !alone {
						t.Parallel()
					}
					c.test(t, f)
				})
			}
		})
	}
}
