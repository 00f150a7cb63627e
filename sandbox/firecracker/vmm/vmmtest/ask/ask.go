// Package ask is what the suite of monitors and the agent in its machines say to each other, in frames of guest/wire. Each
// question is answered with its own kind.
package ask

import "thaw/guest/wire"

// Kinds of questions.
const (
	Echo    wire.Kind = 1 // the body comes back
	Fill    wire.Kind = 2 // Text is written again and again over Length bytes of memory
	Sum     wire.Kind = 3 // Text: SHA-256 of what Fill has left
	Read    wire.Kind = 4 // the body is Length bytes of the file Text, from Offset; Size: how many it has
	Write   wire.Kind = 5 // the body is written to the file Text at Offset
	Network wire.Kind = 6 // Text: the address of eth0
	End     wire.Kind = 7 // no answer: the machine ends itself
)

// Question is the head of a question.
type Question struct {
	Text   string `json:"text,omitempty"`
	Offset int64  `json:"at,omitempty"`
	Length int    `json:"len,omitempty"`
}

// Answer is the head of an answer.
type Answer struct {
	Text string `json:"text,omitempty"`
	Size int64  `json:"size,omitempty"`
	Err  string `json:"err,omitempty"`
}
