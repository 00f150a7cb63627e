// Package poller runs event source mappings: it reads their sources, has functions run for what their filters let pass,
// and settles each record once: acknowledged, checkpointed, given back, or given up.
//
//	Service    all mappings of the server
//	owner      one mapping: moves its state (eventsource.Next), stores it, starts and ends its run
//	run        the options of one moment: opens the source, again and again while it cannot be reached
//	session    the time in which the source is open
//	queue      pollers of a queue, each with one batch at a time
//	stream     shards of a stream: which are read now, and in which order; leases
//	shard      reads one shard, and stores how far it is done with (tracker)
//	lane       has batches run one after the other: one lane of a shard for each key range, or one for all shards
//
// Two ends: a drain begins nothing and waits for the invokes in flight, whose records are settled as ever. Killing ends
// those, too. Whatever dies at any moment, a record that was not settled comes again.
//
// Owner: whoever called Open owns the Service, and Close waits for every goroutine of it. Locks: that of a lane and that
// of a tracker are taken by nobody who holds the other; a shard's saving is taken before its tracker's.
package poller
