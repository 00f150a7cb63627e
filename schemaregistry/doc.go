// Package schemaregistry reads records that were written with a schema of a registry: it finds the schema by the id in
// front of the data, holds the data against it, and gives the data as JSON or as they were, without the id.
//
// Two kinds of registry are known, Confluent's (and what speaks its protocol) and AWS Glue's; three languages of
// schemas, Avro, Protobuf and JSON Schema. A Reader belongs to one registry and keeps the schemas that it has met.
//
// What is asked for and given stands in docs/spec/event-sources.md, section 6.9.
package schemaregistry
