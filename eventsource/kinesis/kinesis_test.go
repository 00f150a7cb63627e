package kinesis

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
)

// S-051: the event; S-057: what a failure record tells of a batch.
func TestEvent(t *testing.T) {
	t.Parallel()
	s := start(t)
	arn := s.stream(t, 1)
	s.put(t, arn, "pk", "hello", "x")
	src := s.open(t, arn)
	list, err := src.Stream.Shards(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r, err := src.Stream.Read(t.Context(), list[0].ID, eventsource.Start{At: eventsource.TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	all := eventsourcetest.Next(t, r, 2)
	first := all[0]
	want := `{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"pk","sequenceNumber":"` + first.Position + `","data":"aGVsbG8=","approximateArrivalTimestamp":` +
		seconds(first.Arrived).String() + `},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"` + list[0].ID + ":" + first.Position +
		`","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/fn","awsRegion":"eu-west-1","eventSourceARN":"` + arn + `"}`
	if got := string(first.Event); got != want {
		t.Errorf("event\n got %s\nwant %s", got, want)
	}
	if seconds(time.UnixMilli(1763629000123)) != "1763629000.123" {
		t.Errorf("a time is written %s", seconds(time.UnixMilli(1763629000123)))
	}
	eventsourcetest.AsTaken(t, eventsource.Kinesis, all...)
	f := first.Filtered()
	var meta map[string]any
	if err := json.Unmarshal(f.Meta, &meta); err != nil || meta["partitionKey"] != "pk" || meta["eventName"] != "aws:kinesis:record" || meta["kinesis"] != nil ||
		string(f.Data[0].Bytes) != "hello" {
		t.Errorf("filters see %s %v", f.Meta, f.Data)
	}
	member, info := src.Info(all)
	if member != "KinesisBatchInfo" || !strings.HasPrefix(string(info), `{"shardId":"`+list[0].ID+`","startSequenceNumber":"`+all[0].Position+`","endSequenceNumber":"`+all[1].Position+`","approximateArrivalOfFirstRecord":"`) ||
		!strings.HasSuffix(string(info), `"batchSize":2,"streamArn":"`+arn+`"}`) {
		t.Errorf("%s %s", member, info)
	}
}

// S-052: where a shard is begun, with every server and both ways of reading.
func TestBeginnings(t *testing.T) {
	t.Parallel()
	for name, fansOut := range map[string]bool{"moto": false, "kinesis-local": true, "ministack": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servers[name](t)
			arn := s.stream(t, 1)
			s.put(t, arn, "k", "old")
			time.Sleep(1100 * time.Millisecond) // moto counts times in seconds
			begun := time.Now()
			time.Sleep(1100 * time.Millisecond)
			s.put(t, arn, "k", "new")
			list, err := s.open(t, arn).Stream.Shards(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sources := []func() string{func() string { return arn }}
			if fansOut { // a consumer of their own for each, which has no other subscription
				sources = append(sources, func() string { return s.consumer(t, arn) })
			}
			for _, source := range sources {
				for _, c := range []struct {
					from  eventsource.Start
					first string
				}{
					{eventsource.Start{At: eventsource.TrimHorizon}, "old"},
					{eventsource.Start{At: eventsource.AtTimestamp, Time: begun}, "new"},
					{eventsource.Start{At: eventsource.Latest, Time: begun}, "new"},
				} {
					src := source()
					r, err := s.open(t, src).Stream.Read(t.Context(), list[0].ID, c.from)
					if err != nil {
						t.Fatal(err)
					}
					if got := eventsourcetest.Next(t, r, 1)[0].Filtered().Data[0].Bytes; string(got) != c.first {
						t.Errorf("%s, %v begins with %s, want %s", src, c.from, got, c.first)
					}
					r.Close()
				}
			}
		})
	}
}

// S-069: a shard that was split or merged is read to its end, and its children name it. moto never ends a closed shard, and
// ministack forgets at once what it had.
func TestResharding(t *testing.T) {
	t.Parallel()
	s := servers["kinesis-local"](t)
	arn := s.stream(t, 2)
	src := s.open(t, arn)
	old, err := src.Stream.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		s.put(t, arn, uuid.NewString(), "x")
	}
	s.reshard(t, mapping(arn)) // four of two
	s.reshard(t, mapping(arn)) // two of four
	after, err := src.Stream.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parents := map[int]int{}
	for _, sh := range after {
		parents[len(sh.Parents)]++
	}
	if parents[0] != 2 || parents[1] != 4 || parents[2] != 2 {
		t.Errorf("shards after splitting and merging: %+v", after)
	}
	n := 0
	for _, sh := range old {
		r, err := src.Stream.Read(t.Context(), sh.ID, eventsource.Start{At: eventsource.TrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			var all []*eventsource.Record
			all, err = r.Next(t.Context(), 100)
			n += len(all)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("a closed shard ends with %v", err)
		}
	}
	if n != 20 {
		t.Errorf("the parents gave %d records, want 20", n)
	}
}

// A shard that the service has forgotten is at its end: by polling, and as the last event of a subscription.
func TestForgottenShard(t *testing.T) {
	t.Parallel()
	s := servers["ministack"](t)
	arn := s.stream(t, 1)
	s.put(t, arn, "k", "1")
	consumer := s.consumer(t, arn)
	var readers []eventsource.Reader
	for _, source := range []string{arn, consumer} {
		r, err := s.open(t, source).Stream.Read(t.Context(), first, eventsource.Start{At: eventsource.TrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		want(t, r, "1")
		readers = append(readers, r)
	}
	s.reshard(t, mapping(arn))
	for _, r := range readers {
		if _, err := r.Next(t.Context(), 1); !errors.Is(err, io.EOF) {
			t.Errorf("%T: %v", r, err)
		}
	}
}

// Records that the Kinesis Producer Library has aggregated are one record, as the service hands them on: functions take them
// apart. The form: Amazon's "KPL Aggregated Record Format".
func TestAggregated(t *testing.T) {
	t.Parallel()
	var message []byte
	message = protowire.AppendBytes(protowire.AppendTag(message, 1, protowire.BytesType), []byte("user-1"))
	for n := range 3 {
		var one []byte
		one = protowire.AppendVarint(protowire.AppendTag(one, 1, protowire.VarintType), 0)
		one = protowire.AppendBytes(protowire.AppendTag(one, 3, protowire.BytesType), fmt.Appendf(nil, `{"n":%d}`, n))
		message = protowire.AppendBytes(protowire.AppendTag(message, 3, protowire.BytesType), one)
	}
	sum := md5.Sum(message)
	data := slices.Concat([]byte{0xF3, 0x89, 0x9A, 0xC2}, message, sum[:])
	s := servers["kinesis-local"](t)
	arn := s.stream(t, 1)
	s.put(t, arn, "a", string(data))
	for _, source := range []string{arn, s.consumer(t, arn)} {
		r, err := s.open(t, source).Stream.Read(t.Context(), first, eventsource.Start{At: eventsource.TrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		one := eventsourcetest.Next(t, r, 1)[0]
		var e struct{ Kinesis struct{ Data []byte } }
		if err := json.Unmarshal(one.Event, &e); err != nil || !bytes.Equal(e.Kinesis.Data, data) {
			t.Errorf("data %x, want %x (%v)", e.Kinesis.Data, data, err)
		}
		f, err := eventsource.NewFilter(eventsource.Kinesis, []string{`{"data":{"n":[1]}}`})
		if err != nil {
			t.Fatal(err)
		}
		if f.Passes(one.Filtered()) { // S-028: it is no JSON
			t.Error("a filter of JSON lets an aggregated record pass")
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	s := start(t)
	none := mapping("arn:aws:kinesis:eu-west-1:123456789012:stream/none")
	var invalid *eventsource.InvalidError
	if err := s.driver.Check(t.Context(), none, eventsource.Facts{}); !errors.As(err, &invalid) || invalid.Message != "Stream not found: "+none.Source.ARN {
		t.Errorf("check: %v", err)
	}
	consumer := mapping("arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1")
	if err := s.driver.Check(t.Context(), consumer, eventsource.Facts{}); !errors.As(err, &invalid) || invalid.Message != "Stream not found: "+consumer.Source.ARN {
		t.Errorf("check of a consumer: %v", err)
	}
	var p *eventsource.ProblemError
	if _, err := s.driver.Open(t.Context(), none, eventsource.Facts{}); !errors.As(err, &p) || p.Text != "The stream does not exist." {
		t.Errorf("open: %v", err)
	}
}

// S-053, S-054, S-055, S-069: batches of one shard, order, each mapping all records, shards that are split. With every server that there is, by polling
// and, where it can, by fan-out.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, fansOut := range map[string]bool{"moto": false, "kinesis-local": true, "ministack": true} {
		t.Run(name+", polled", func(t *testing.T) {
			t.Parallel()
			if name == "kinesis-local" {
				endpoint, stop, start := eventsourcetest.MortalKinesisLocal(t)
				s := serviceAt(endpoint, awshttp.NewBuildableClient())
				f := s.fixture(func(t testing.TB) string { return s.stream(t, 2) })
				f.Split, f.Stop, f.Start = s.reshard, stop, start
				eventsourcetest.Run(t, f)
				return
			}
			s := servers[name](t)
			eventsourcetest.Run(t, s.fixture(func(t testing.TB) string { return s.stream(t, 2) }))
		})
		if fansOut {
			t.Run(name+", fan-out", func(t *testing.T) {
				t.Parallel()
				s := servers[name](t)
				f := s.fixture(func(t testing.TB) string { return s.consumer(t, s.stream(t, 2)) })
				eventsourcetest.Run(t, f) // nobody splits: kinesis-local never says to a subscription that its shard has ended
			})
		}
	}
}

// fixture is a source that is made by its ARN.
func (s *service) fixture(source func(t testing.TB) (arn string)) eventsourcetest.Fixture {
	return eventsourcetest.Fixture{
		Driver: s.driver,
		New:    func(t testing.TB) *eventsource.Mapping { return mapping(source(t)) },
		Put: func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
			arn, _ := streamOf(m.Source.ARN)
			s.put(t, arn, key, bodies...)
		},
		Pattern: `{"data":{"pass":[true]}}`,
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				Records []struct {
					Kinesis struct {
						SequenceNumber string
						Data           []byte
					}
				}
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.Records {
				id, err := json.Marshal(r.Kinesis.SequenceNumber)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, eventsourcetest.Seen{Body: string(r.Kinesis.Data), ID: id})
			}
			return all
		},
	}
}
