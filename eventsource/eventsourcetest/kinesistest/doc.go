// Package kinesistest has a server of Kinesis that tests can hurt: it speaks HTTP/2 and pushes records to subscriptions as
// the service does (application/vnd.amazon.eventstream, initial-response first), at once, and ends, breaks, refuses and
// delays them when a test says so. What it has is in memory.
//
// It knows what a consumer of enhanced fan-out needs (PutRecord, ListShards, SplitShard, the Describe operations and
// SubscribeToShard), and no GetRecords: real servers show that.
//
// Source: SubscribeToShard, Kinesis API Reference; the wire form of event streams, Smithy.
package kinesistest
