// Package websocket serves WebSocket APIs: connections of clients that functions are told of, message by message, and the
// management API by which functions answer.
//
//	   | Refused ---> Gone           (no function is told)
//	   | AnswerLost -> Gone
//	Opening
//	   | Accepted
//	Connected ------ ClientClosed, ClientLost, ReceiverStalled --------> Gone
//	   | IdleExpired, LifeOver, Deleted, StageRemoved, ServerStops, TooBig, NotText
//	Closing ----- ClientClosed, ClientLost, GraceOver ---> Gone
//
// Whatever leads to Gone but Refused tells $disconnect, once.
//
// # Owners
//
// The Server owns all connections, the goroutine that looks for stages that are gone, and those of functions that run for
// messages; Close waits for all of them. A connection is owned by the goroutine that reads it: it alone hangs up and tells
// $disconnect. Whoever has something for the client puts it into the connection's queue, which a goroutine writes that
// ends when the queue is empty. So an idle connection is one goroutine and one timer.
//
// Messages of one connection run at the same time, up to a bound, as at AWS: a function that wants them in their order
// numbers them. What is sent to one connection keeps its order.
//
// Source: API Gateway Developer Guide, "WebSocket APIs"; docs/spec/event-sources.md, 14; RFC 6455.
package websocket
