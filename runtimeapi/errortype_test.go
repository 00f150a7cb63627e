package runtimeapi

import "testing"

// TestFilterErrorType holds E-041 and E-042.
func TestFilterErrorType(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "Runtime.Unknown",
		"Function<StandardError>": "Runtime.Unknown",
		"unhandled":               "Runtime.Unknown",
		"Function.bad":            "Function.Unknown",
		"Function.":               "Function.Unknown",
		"Function.B":              "Function.Unknown",
		"Runtime.bad":             "Runtime.Unknown",
		"Runtime.MyReason":        "Runtime.MyReason",
		"Runtime.My Reason":       "Runtime.My Reason",
		"Function.MyReason":       "Function.MyReason",
		"my Runtime.MyReason":     "my Runtime.MyReason",
		"Runtime.x Runtime.Ab":    "Runtime.x Runtime.Ab",
		"Extension.Crash":         "Runtime.Unknown",
	} {
		if got := FilterErrorType(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
