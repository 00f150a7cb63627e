// Package eventsource says what an event source mapping is: the record that binds a source (a queue, a stream) to a
// function, its life (Next), what a source has to do (Driver), and, as pure functions, what becomes of records: which
// of them a function wants (Filter), which go together (Batcher), and what follows when it fails (Judge). It knows no
// protocol, no broker and no clock. Package poller runs it, package eventsourcetest holds every source to it.
//
//	source --Record--> Filter --> Batcher --> invoke --> Judge --> acknowledge, checkpoint, try again, give up
//
// # Two kinds of source
//
// A Queue has messages that are received, and later acknowledged or given back: SQS, ActiveMQ, RabbitMQ, and the share
// groups of Kafka. Each poller of a queue has one batch at a time, so its number is the concurrency (Scale).
//
// A Stream has shards, and in each of them records in an order. Its records are done with up to a position. Kinesis and
// DynamoDB have shards with parents; a change stream of MongoDB is one shard, named by the source, whose position is a
// resume token; the partitions of Kafka are shards that the broker assigns (Traits.Assigns) and whose positions it keeps
// (Reader.Commit). For all others the caller holds a lease for each shard that it reads and stores a Checkpoint when a
// batch is done with, never before.
//
// # How to write a source
//
// A source is a package below this one (eventsource/sqs, kafka, rabbitmq ...). Its New takes what all
// its mappings share (Secrets, Endpoints, roots of TLS) and returns a Driver. It knows its protocol and nothing of
// filters, batches, retries and functions; it imports this package alone. Files that helped in the first one:
//
//	driver.go    New, Check, Open: clients, and what the service says when something is not there
//	record.go    the source's record as the handler's JSON and as filters see it; golden files of both
//	queue.go     Receive, Acknowledge, GiveBack        (or stream.go: Shards, Read; reader.go: Next, Commit)
//
// What a kind may be told by clients stands in one table, options.go: defaults, bounds, what is refused and how. What is
// true of the kind stands in another one, traits.go. A source validates nothing of that again.
//
// node/sources.go is where a source is registered: one line in the map of drivers.
//
// Records. Record.Event is written in the member order of the service; the caller joins events by the Envelope.
// Record.Filtered makes the metadata, and lists the data members as the sender wrote them. Whether data are JSON, and
// what becomes of a record whose data are not what a pattern asks for, is decided in filter.go for all kinds. Arrived is
// what ages are counted from. ID is what partial answers name.
//
// Errors. What keeps a source from being read is a *ProblemError, whose text people see in LastProcessingResult: say what
// is wrong and what to do. The caller makes the same call again after a pause that grows, so a client that reconnects
// by itself needs nothing else; ErrBroken has the source closed and opened anew. Neither a problem nor a death of the
// source's server ends a mapping.
//
// Credentials. Secrets.Secret turns the URI of a SourceAccessConfiguration into the text of the secret: from Secrets
// Manager, or from a file of the server named like the secret. It is called at Open, and again when the source refuses
// the credentials, so that a secret that was corrected helps without a restart. Secrets appear in no error and no log.
// Roots of TLS are those of the host, and those of the secret that SERVER_ROOT_CA_CERTIFICATE names.
//
// Addresses. Services of AWS are found as every client of AWS finds them (internal/awsconfig). Sources whose ARN does
// not say where they are (MSK, Amazon MQ, DocumentDB) are found by Endpoints: thaw server --sources "ARN=URL ...".
//
// Idle sources cost next to nothing: a thousand mappings without records may take 2 % of a core. Poll long, not often;
// where a protocol has no long poll, poll the less often the longer nothing came, and keep one clock for all mappings.
//
// Tests. eventsourcetest.Run holds a source to the contract, with the source's real server where there is one that can
// be fetched, or with a fake that speaks the protocol: see that package, which also starts servers.
package eventsource
