// Package eventbridge is Amazon EventBridge: buses, rules and what they send where. One file for each group of operations,
// in the protocol JSON 1.1; whoever serves it has checked signatures, and gives it whole bodies (api.Service).
//
//	PutEvents -> the bus's index of patterns -> each target of each rule that matches -> its input
//	          -> a function: its asynchronous queue, on disk     -> acknowledged
//	          -> a queue, a topic, a log group: the outbox, on disk
//	          -> another bus of this server: its rules
//
// A rule with a schedule is fired by the agenda, and has its targets sent to in the same way.
//
// Each region that a request is signed for has buses of its own, among them the one called default, which always is there.
//
// Lock order: Server.changing, then Server.mu. A Server needs no end.
package eventbridge
