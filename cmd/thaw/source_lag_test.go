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

func TestSourceInAFewWords(t *testing.T) {
	const at = "eu-west-1:123456789012:"
	for _, c := range []struct {
		kind, arn, of, want string
	}{
		{"sqs", "arn:aws:sqs:" + at + "orders", "", "sqs orders"},
		{"kinesis", "arn:aws:kinesis:" + at + "stream/orders", "", "kinesis orders"},
		{"kinesis", "arn:aws:kinesis:" + at + "stream/orders/consumer/reads:1763629000", "", "kinesis orders/reads"},
		{"dynamodb", "arn:aws:dynamodb:" + at + "table/orders/stream/2026-11-20T00:00:00.000", "", "dynamodb orders"},
		{"msk", "arn:aws:kafka:" + at + "cluster/c/4f6d8b2a-2", "orders", "msk orders"},
		{"documentdb", "arn:aws:rds:" + at + "cluster:c", "", "documentdb c"},
	} {
		s := &shownSource{Kind: c.kind, Source: c.arn, Of: c.of}
		if got := s.brief(); got != c.want {
			t.Errorf("%s is shown as %s, want %s", c.arn, got, c.want)
		}
	}
}
