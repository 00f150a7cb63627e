package main

import (
	"fmt"
	"testing"

	"thaw/admin"
)

func TestAims(t *testing.T) {
	for _, tc := range []struct {
		r          result
		aim, value string
	}{
		{result{value: 1.234, unit: "ms"}, "", "1.23 ms"},
		{result{value: 59, unit: "ms", aim: 60}, "≤ 60 ms", "59.00 ms"},
		{result{value: 61, unit: "ms", aim: 60, cpu: 7}, "≤ 60 ms", "**61.00 ms (cpu 7.0)** (misses)"},
		{result{value: 7.9, aim: 8, atLeast: true}, "≥ 8", "**7.90** (misses)"},
		{result{value: 200, aim: 200, exact: true}, "= 200", "200"},
		{result{value: 199, aim: 200, exact: true}, "= 200", "**199** (misses)"},
		{result{value: 0, none: true}, "≤ 0", "0"},
		{result{value: -1, none: true}, "≤ 0", "-1"},
		{result{value: 2, none: true}, "≤ 0", "**2** (misses)"},
		{result{words: "left out: no java"}, "", "left out: no java"},
	} {
		tc.r.table, tc.r.what = "t", "w"
		if got := aims([]result{tc.r}, "t", "w"); got != tc.aim {
			t.Errorf("%+v has the aim %q, want %q", tc.r, got, tc.aim)
		}
		if got := tc.r.String(); got != tc.value {
			t.Errorf("%+v prints %q, want %q", tc.r, got, tc.value)
		}
	}
}

// The stages of a restore do not count a moment twice: what is not a point within another stage adds up to the time from the environment's making to the answer.
func TestStagesAddUp(t *testing.T) {
	env := admin.Environment{
		Stages: []admin.Stage{{Name: "blank", Seconds: 0.001}, {Name: "load", Seconds: 0.050}, {Name: "load: go", Seconds: 0.003}, {Name: "load: go, cpu", Seconds: 0.002},
			{Name: "load: running", Seconds: 0.050}, {Name: "load: running, cpu", Seconds: 0.040}},
		Moves: []admin.Move{{From: "Creating", Seconds: 0.053}, {From: "Restoring", Seconds: 0.020}, {From: "Parked"}, {From: "Invoking", Seconds: 0.007}, {From: "Responded", Seconds: 1}},
	}
	sum, within := 0.0, map[string]string{}
	for _, st := range stagesOf(env, 0.5) {
		if st.within {
			within[st.name] = fmt.Sprintf("%.0f %.0f", st.wall, st.cpu)
		} else {
			sum += st.wall
		}
	}
	if got := fmt.Sprintf("%.1f", sum); got != "80.5" {
		t.Errorf("the stages add up to %s ms, want 80.5", got)
	}
	if want := map[string]string{"sandbox: load: go": "3 2", "sandbox: load: running": "50 40"}; fmt.Sprint(within) != fmt.Sprint(want) {
		t.Errorf("points %v, want %v", within, want)
	}
}
