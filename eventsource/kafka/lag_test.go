package kafka_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
	"thaw/eventsource/poller"
)

// What waits is told when somebody looks: nothing, when all was read, though transactions have left their marks behind it;
// the same of a server that has read nothing since it started; and all that comes while the function has no time.
func TestLag(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	k := client(t, c)
	createTopic(t, k, "lagging", 2)
	busy, free := make(chan struct{}, 100), make(chan struct{})
	service := serveFunction(t, func(values []string) error {
		if values[0] != "first" && values[0] != "in a transaction" {
			busy <- struct{}{}
			<-free
		}
		return nil
	})
	m := selfManaged(c, "lagging")
	zero := 0
	m.Function, m.Partition, m.State, m.Source.GroupID = fn, "aws", eventsource.Creating, "lagging"
	m.Options.BatchSize, m.Options.Window, m.Options.MaxRetries, m.Options.MaxAge = 1, &zero, -1, -1
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	lag := func(s *poller.Service) int64 { return s.Status(t.Context())[0].Lag }
	sender := client(t, c, kgo.TransactionalID("lag"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := sender.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(t, sender, &kgo.Record{Topic: "lagging", Partition: 0, Value: []byte("in a transaction")})
	if err := sender.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	p := client(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	put(t, p, &kgo.Record{Topic: "lagging", Partition: 1, Value: []byte("first")})
	all := func(n int64) func() bool {
		return func() bool { s := service.Status(t.Context())[0]; return s.Lag == n && len(s.Shards) == 2 }
	}
	eventsourcetest.Until(t, "all was read", all(0))
	for n := range 5 {
		put(t, p, &kgo.Record{Topic: "lagging", Partition: 1, Value: fmt.Appendf(nil, "%d", n)})
	}
	<-busy
	eventsourcetest.Until(t, "some wait", func() bool { n := lag(service); return n > 0 && n < 5 })
	close(free)
	eventsourcetest.Until(t, "all was read again", all(0))

	// Another server, whose group has committed everything, or nothing.
	d := kafka.New(noSecrets, nil, load)
	for group, want := range map[string]int64{"lagging": 0, uuid.NewString(): 6} {
		if group == "lagging" {
			eventsourcetest.Until(t, "the group has committed", func() bool { return committed(t, k, group, "lagging", 2)[1] == 6 })
			if _, err := service.Delete(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
			eventsourcetest.Until(t, "it is gone", func() bool { return len(service.Status(t.Context())) == 0 })
		}
		other := selfManaged(c, "lagging")
		other.Source.GroupID = group
		src := open(t, d, other)
		shards(t, src, 2)
		got, err := src.Stream.(poller.Lags).Lags(t.Context())
		if err != nil || got["lagging-1"] != want {
			t.Errorf("of group %s: %v, %v; want %d", group, got, err, want)
		}
	}
}
