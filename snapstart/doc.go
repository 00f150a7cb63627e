// Package snapstart makes, verifies, refreshes and lends the snapshots of versions, and looks into them (the doctor). What
// a snapshot is, its records, their state machine and its store are package snapshot's; this package performs what that
// machine says.
//
//	           api: Make, Forget, Sweep, Retag            admin: List, Refresh, Remove, SetPolicy, Doctor
//	                            \                             /
//	invokes: Used --> watch --> write(life, edit) --steps--> follow: StartMaking, AbortMaking
//	restores: Lend, Lost -------/       |                    perform: Swap, RetireCurrent, DropNext, WarnInit, WarnKept
//	                                    v
//	                          snapshot.Records            a making: the eight steps of ritual.go
//
// What it needs of the server is in needs.go: environments that serve nobody, the pool, the log store, a clock.
//
// # Owners and locks
//
// A Service owns the store and the cache of snapshots and one life for each version that has snapshots, or had some in
// this incarnation of its function. A life owns the making that is under way for it. Everything that is done for a life
// is between begin and done; the life leaves when all of it is.
//
// life.writing is held while a record is written, and taken before Service.mu, which guards the members of lives and is
// held for memory work only.
package snapstart
