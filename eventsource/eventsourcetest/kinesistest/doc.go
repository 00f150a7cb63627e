// Package kinesistest has a server of Kinesis that tests can hurt: it speaks HTTP/2 and pushes records to subscriptions as
// the service does (application/vnd.amazon.eventstream, initial-response first), at once, and ends, breaks, refuses and
// delays them when a test says so. What it has is in memory.
//
// It knows what readers need: PutRecord, ListShards, SplitShard, the Describe operations, SubscribeToShard, GetShardIterator
// and GetRecords.
//
// Source: SubscribeToShard, Kinesis API Reference; the wire form of event streams, Smithy.
package kinesistest
