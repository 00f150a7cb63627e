package runtimeapi

import (
	"errors"

	"thaw/guest/telemetry"
	"thaw/guest/wire"
)

// The Telemetry API and the Logs API, whose subscriptions guest/telemetry keeps. Source: spec 4.1, 4.2.

const (
	telemetryAt = "/2022-07-01/telemetry"
	logsAt      = "/2020-08-15/logs"
)

// subscribe answers PUT /2022-07-01/telemetry and PUT /2020-08-15/logs. 200 "OK"; 400 for a body that is no
// subscription; 403 for a stranger, and when Init is over.
func (a *API) subscribe(c *conn, q *request, logs bool) error {
	body, done, err := a.extensionBody(c, q)
	if done {
		return err
	}
	api, validation := "Telemetry", "ValidationError"
	if logs {
		api, validation = "Logs", "Logs.ValidationError"
	}
	a.mu.Lock()
	who, refused := a.whoLocked(q)
	name := ""
	if refused == nil {
		name = a.crew.Members[who].Name
	}
	a.mu.Unlock()
	switch {
	case refused != nil:
		return a.answer(c, q, *refused)
	case a.hub == nil:
		return a.answer(c, q, failure(202, api+".NotSupported", api+" API is not supported"))
	}
	types, again, err := a.hub.Subscribe(name, logs, body)
	switch {
	case errors.Is(err, telemetry.ErrClosed):
		return a.answer(c, q, failure(403, api+".SubscriptionClosed", api+" API subscription is closed already"))
	case err != nil:
		return a.answer(c, q, failure(400, validation, err.Error()))
	}
	if err := a.send(wire.KindSubscribed, wire.Subscribed{Generation: a.generation, Name: name, Logs: logs, Again: again, Types: types}, nil); err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	return a.answer(c, q, reply{status: 200, contentType: "application/json", body: []byte(`"OK"`)})
}
