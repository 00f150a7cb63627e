package main

import "testing"

func TestWaiting(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name            string
		records, behind *int64
		want            string
	}{
		{"nobody knows", nil, nil, "-"},
		{"a queue with messages", number(12), nil, "12"},
		{"a stream that is idle", number(0), number(0), "0"},
		{"a stream that is far from its end", nil, number(90_000), "1m"},
		{"a stream with a shard that is, and one that is not", number(0), number(5_000), "5s"},
	} {
		if got := waiting(c.records, c.behind); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
