// Package mongotest is a server of MongoDB as far as change streams need one, for tests and for the sample: no server
// that has them can be fetched from a registry. It speaks OP_MSG to the real driver: one replica set of one member,
// SCRAM-SHA-256, TLS, inserts, updates and deletes by equality, and change streams with resume tokens, start times,
// updateLookup, and a log that can be cut. It keeps everything in memory.
//
// What it answers follows MongoDB's manual and the driver's specifications (change-streams, server-discovery-and-monitoring,
// auth). Where a client asks for more, it gets an error that says so.
package mongotest
