// Package agenda has schedules fired at their times: those of rules and those of EventBridge Scheduler. When they are due
// is schedule's business, what firing means their owners'.
//
//	due -> taken: "everything up to this moment" is written -> fired, each noted -> done
//
// Exactly once: what was taken is not taken again, after a restart, a kill, or when the clock is set back by less than an
// hour. At least once: what was taken and not noted as fired when the server was killed is fired when it is back.
//
// What was due while the server was down, or while the clock jumped over it, is missed, as on the service: nothing is
// caught up with. A schedule is fired late by a minute at most (grace).
//
// Owner: an Agenda owns its goroutine, those that fire, and the ledger's file; Close ends them and waits.
package agenda

import (
	"context"
	"log/slog"
	"time"

	"thaw/schedule"
)

// Options of an Agenda. Path and Log are required.
type Options struct {
	Path string // of the ledger's file; its folder is made if missing
	Log  *slog.Logger
	Now  func() time.Time // nil: the clock
	// Fired is told, if not nil, how long after its time a schedule was fired: what it does is on disk then.
	Fired func(late time.Duration)
}

// Entry is one schedule.
type Entry struct {
	Timing *schedule.Timing
	// Fire returns when what it does is on disk. It is called again after an error, every second for a while.
	Fire func(ctx context.Context, t schedule.Tick) error
	// Done is told, if not nil, when the schedule was fired for the last time.
	Done func()
}

const (
	// grace is how late a schedule is fired. No two times of one schedule are so near to each other.
	grace = 59 * time.Second
	// backLimit is how far the clock may be set back with no time coming twice. If it goes back further it was wrong
	// before, and everything is as if the schedules were new.
	backLimit = time.Hour
	// lookEvery is how often the clock is looked at: it may have been set.
	lookEvery = time.Second
	// openFor is how long what was taken is still fired after a crash, and how long firing is tried.
	openFor = 24 * time.Hour
	workers = 1024 // who fire at once: what they put on disk is written together, and shares its syncs
)
