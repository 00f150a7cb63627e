package runtimeapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/guest/telemetry"
	"thaw/guest/wire"
)

// TestTelemetryAPI holds E-103 to E-105, and the same of the Logs API.
func TestTelemetryAPI(t *testing.T) {
	t.Parallel()
	hub := telemetry.New(telemetry.Options{Dial: func(int) (telemetry.Conn, error) { return nil, errors.New("nobody listens") }})
	defer hub.Close()
	s := serve(t, Options{Function: testFunction, Telemetry: hub})
	c := s.dial()
	_, _, x := c.register("x", `{}`)
	_, _, y := c.register("y", `{}`)
	s.extension()
	s.extension()
	put := func(path, id, body string) (int, string) {
		t.Helper()
		c.send(fmt.Sprintf("PUT %s HTTP/1.1\r\nhost: x\r\n%s\r\ncontent-length: %d\r\n\r\n%s", path, identifier(id), len(body), body))
		resp, text := c.answer("PUT")
		return resp.StatusCode, text
	}
	const body = `{"schemaVersion":"2022-12-13","types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/x"}}`
	const logs = `{"types":["function"],"destination":{"protocol":"TCP","port":8081}}`
	for path, errType := range map[string]string{telemetryAt: "ValidationError", logsAt: "Logs.ValidationError"} {
		status, text := put(path, x, `{"types":[]}`)
		expect(t, "no types", status, text, 400, errType)
		status, text = put(path, NewUUID(), body)
		expect(t, "a stranger", status, text, 403, errExtensionUnknownID)
	}
	for _, again := range []bool{false, true} {
		if status, text := put(telemetryAt, x, body); status != 200 || text != `"OK"` {
			t.Errorf("subscribe: %d %s", status, text)
		}
		if m, _ := s.said(wire.KindSubscribed).head.(wire.Subscribed); m.Name != "x" || m.Again != again || m.Logs || fmt.Sprint(m.Types) != "[platform]" {
			t.Errorf("the host was told %+v", m)
		}
	}
	if status, text := put(logsAt, y, logs); status != 200 || text != `"OK"` {
		t.Errorf("the Logs API: %d %s", status, text)
	}
	if m, _ := s.said(wire.KindSubscribed).head.(wire.Subscribed); m.Name != "y" || !m.Logs {
		t.Errorf("the host was told %+v", m)
	}
	hub.Pause()
	for path, api := range map[string]string{telemetryAt: "Telemetry", logsAt: "Logs"} {
		status, text := put(path, x, map[bool]string{true: body, false: logs}[path == telemetryAt])
		expect(t, "after init", status, text, 403, api+".SubscriptionClosed")
		if !strings.Contains(text, api+" API subscription is closed already") {
			t.Error(text)
		}
	}
}
