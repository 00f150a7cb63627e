// Package schedule says when schedules are due: the expressions of EventBridge's rules and of EventBridge Scheduler, with
// time zones, first and last dates and flexible windows. It is pure: no clock, no I/O, nothing of what is scheduled.
//
//	rate(5 minutes)              every so often, from a moment on
//	cron(0 18 ? * MON-FRI *)     minutes, hours, days of the month, months, days of the week, years
//	at(2026-11-20T09:00:00)      once
//
// What may be surprising:
//
//   - Days of the week are 1 to 7 from Sunday on. One of the two fields for days must be ?.
//   - Ranges go round: 20-2 hours are from 20 o'clock to 2 o'clock.
//   - A time that the clocks leave out, because daylight saving begins, is skipped. One that they show twice counts once:
//     the first time. So an expression of every minute is silent for the hour that is repeated.
//   - A day of rate is 24 hours, whatever clocks do.
//
// Source: EventBridge User Guide, "Cron expressions" and "Rate expressions"; EventBridge Scheduler User Guide, "Schedule
// types" and "Daylight savings time".
package schedule
