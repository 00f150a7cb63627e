package kinesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/kinesistest"
)

// pushed is a stream of a server that can be hurt, with a driver that goes to it.
type pushed struct {
	*kinesistest.Server
	*kinesistest.Stream
	*service
}

func push(t testing.TB) *pushed {
	s := kinesistest.New(t)
	return &pushed{s, s.Stream(1), serviceAt(s.URL, trusting(s.Root))}
}

// subscribe reads a shard.
func (p *pushed) subscribe(t testing.TB, shard string) (eventsource.Stream, eventsource.Reader) {
	t.Helper()
	src := p.open(t, p.ConsumerARN)
	r, err := src.Stream.Read(t.Context(), shard, eventsource.Start{At: eventsource.TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return src.Stream, r
}

// want holds that the next records are these.
func want(t testing.TB, r eventsource.Reader, bodies ...string) {
	t.Helper()
	var got []string
	for _, one := range eventsourcetest.Next(t, r, len(bodies)) {
		got = append(got, string(one.Filtered().Data[0].Bytes))
	}
	if !slices.Equal(got, bodies) {
		t.Errorf("got %v, want %v", got, bodies)
	}
}

const first = "shardId-000000000000"

// What real servers do not show: subscriptions that end in the middle of everything. They live for a third of a second
// here, not for five minutes.
func TestConformanceOfShortSubscriptions(t *testing.T) {
	t.Parallel()
	server := kinesistest.New(t)
	server.Lifetime = 300 * time.Millisecond
	var mu sync.Mutex
	streams := map[string]*kinesistest.Stream{}
	of := func(m *eventsource.Mapping) *kinesistest.Stream {
		mu.Lock()
		defer mu.Unlock()
		return streams[m.Source.ARN]
	}
	f := serviceAt(server.URL, trusting(server.Root)).fixture(func(testing.TB) string {
		st := server.Stream(2)
		mu.Lock()
		defer mu.Unlock()
		streams[st.ConsumerARN] = st
		return st.ConsumerARN
	})
	f.Put = func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
		for _, b := range bodies {
			of(m).Put(key, []byte(b))
		}
	}
	f.Split = func(_ testing.TB, m *eventsource.Mapping) { of(m).SplitAll() }
	eventsourcetest.Run(t, f)
}

// The event names the consumer; the connection is one of HTTP/2; how far reading is behind is known.
func TestPushedEvent(t *testing.T) {
	t.Parallel()
	p := push(t)
	_, sequence := p.Put("pk", []byte("hello"))
	_, r := p.subscribe(t, first)
	one := eventsourcetest.Next(t, r, 1)[0]
	if one.Position != sequence || !bytes.Contains(one.Event, []byte(`"eventSourceARN":"`+p.ConsumerARN+`"`)) {
		t.Errorf("event %s", one.Event)
	}
	if c := p.Calls(); len(c) != 1 || c[0].Proto != 2 || c[0].Type != "TRIM_HORIZON" {
		t.Errorf("calls %+v", c)
	}
	if b := r.(*subscription).Behind(); b != 0 || r.Lag() != 0 {
		t.Errorf("behind %v, lag %d", b, r.Lag())
	}
}

// A subscription whose time is over, or whose connection breaks, is followed by one that goes on behind the last event.
func TestSubscriptionsFollowEachOther(t *testing.T) {
	t.Parallel()
	p := push(t)
	p.Lifetime = 300 * time.Millisecond
	_, r := p.subscribe(t, first)
	for n := range 4 {
		body := fmt.Sprint(n)
		_, before := p.Put("k", []byte(body))
		want(t, r, body)
		calls := len(p.Calls())
		if n == 2 {
			p.Cut()
		}
		_, last := p.Put("k", []byte("then"))
		want(t, r, "then")
		// What follows is read by the next subscription.
		late := make(chan error, 1)
		go func() {
			_, err := r.Next(t.Context(), 1)
			late <- err
		}()
		eventsourcetest.Until(t, "there is another subscription", func() bool { return len(p.Calls()) > calls })
		c := p.Calls()[calls]
		// Behind the last record that was read, which may be the first of the two when it is renewed between them.
		if c.Type != "AFTER_SEQUENCE_NUMBER" || c.Sequence != before && c.Sequence != last {
			t.Errorf("it began %s %s, want after %s or %s", c.Type, c.Sequence, before, last)
		}
		p.Put("k", []byte("late"))
		if err := <-late; err != nil {
			t.Fatal(err)
		}
	}
}

// A function that takes nothing for a while has the connection wait, not the memory fill.
func TestSlowReaderHoldsLittle(t *testing.T) {
	t.Parallel()
	p := push(t)
	body := bytes.Repeat([]byte("x"), 64<<10)
	const n = 400 // 33 MiB as base64
	for i := range n {
		p.Put("k", append([]byte(fmt.Sprint(i, " ")), body...))
	}
	_, r := p.subscribe(t, first)
	take := func(from, to int) {
		for i, one := range eventsourcetest.Next(t, r, to-from) {
			if !bytes.HasPrefix(one.Filtered().Data[0].Bytes, []byte(fmt.Sprint(from+i, " "))) {
				t.Fatalf("record %d is %.20q", from+i, one.Filtered().Data[0].Bytes)
			}
		}
	}
	take(0, 1)
	sent := -1
	eventsourcetest.Until(t, "the server waits", func() bool {
		before := sent
		sent = p.Sent(first)
		time.Sleep(200 * time.Millisecond)
		return sent == before
	})
	// Read is one event, another waits for whoever takes it, and the window.
	if most := 2*kinesistest.EventBytes + receiveBuffer + kinesistest.EventBytes; sent > most {
		t.Errorf("the server could send %d bytes, want at most %d", sent, most)
	}
	take(1, n)
}

// A shard that ends gives the rest, and then the children that the last event names.
func TestShardEnds(t *testing.T) {
	t.Parallel()
	p := push(t)
	p.Put("a", []byte("1"))
	stream, r := p.subscribe(t, first)
	want(t, r, "1")
	p.Put("a", []byte("2"))
	p.Split(first)
	want(t, r, "2")
	if _, err := r.Next(t.Context(), 1); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end of the shard: %v", err)
	}
	p.HideChildren() // the list is late
	list, err := stream.Shards(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	for _, sh := range list {
		if sh.ID != first && !slices.Equal(sh.Parents, []string{first}) {
			t.Errorf("child %+v", sh)
		}
	}
}

// Refusals that pass by themselves are no problem; those that do not are told, and reading goes on when they are over.
func TestRefusals(t *testing.T) {
	t.Parallel()
	problems := func(t *testing.T, r eventsource.Reader) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := r.Next(ctx, 1)
		var problem *eventsource.ProblemError
		if !errors.As(err, &problem) {
			t.Fatalf("got %v, want a problem", err)
		}
		return problem.Text
	}
	repeat := func(n int, f kinesistest.Refusal) []kinesistest.Refusal {
		return slices.Repeat([]kinesistest.Refusal{f}, n)
	}
	for name, c := range map[string]struct {
		refusals []kinesistest.Refusal
		problem  string
	}{
		"there is a subscription":              {repeat(5, kinesistest.Refusal{Code: "ResourceInUseException", Status: 400}), ""},
		"there is one, as an event says":       {repeat(3, kinesistest.Refusal{Code: "ResourceInUseException"}), ""},
		"too many calls":                       {repeat(2, kinesistest.Refusal{Code: "LimitExceededException", Status: 400}), ""},
		"the service has a fault":              {repeat(2, kinesistest.Refusal{Code: "InternalFailureException"}), ""},
		"the service says nothing":             {repeat(1, kinesistest.Refusal{Silent: true}), ""},
		"there is a subscription all the time": {repeat(mostRefusals+1, kinesistest.Refusal{Code: "ResourceInUseException", Status: 400}), "another reader uses the consumer"},
		"the service has a fault for long":     {repeat(mostSilent+1, kinesistest.Refusal{Code: "InternalFailureException"}), "end without an event"},
		"credentials that may not":             {repeat(1, kinesistest.Refusal{Code: "AccessDeniedException", Status: 400}), "may not read"},
		"a key that is disabled":               {repeat(1, kinesistest.Refusal{Code: "KMSDisabledException"}), "KMSDisabledException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := push(t)
			p.Put("k", []byte("1"))
			p.Refuse(c.refusals...)
			_, r := p.subscribe(t, first)
			if c.problem != "" {
				if text := problems(t, r); !strings.Contains(text, c.problem) {
					t.Errorf("told %q", text)
				}
			}
			want(t, r, "1")
		})
	}
	t.Run("taken over", func(t *testing.T) {
		t.Parallel()
		p := push(t)
		p.Put("k", []byte("1"))
		_, r := p.subscribe(t, first)
		want(t, r, "1")
		p.Interrupt("ResourceInUseException")
		if text := problems(t, r); !strings.Contains(text, "taken over") {
			t.Errorf("told %q", text)
		}
		p.Put("k", []byte("2"))
		want(t, r, "2")
	})
	t.Run("the consumer is gone", func(t *testing.T) {
		t.Parallel()
		p := push(t)
		p.Put("k", []byte("1"))
		_, r := p.subscribe(t, first)
		want(t, r, "1")
		p.Deregister()
		if text := problems(t, r); !strings.Contains(text, "consumer does not exist") {
			t.Errorf("told %q", text)
		}
		var problem *eventsource.ProblemError
		if _, err := p.driver.Open(t.Context(), mapping(p.ConsumerARN), eventsource.Facts{}); !errors.As(err, &problem) || !strings.Contains(problem.Text, "consumer does not exist") {
			t.Errorf("open: %v", err)
		}
		var invalid *eventsource.InvalidError
		if err := p.driver.Check(t.Context(), mapping(p.ConsumerARN), eventsource.Facts{}); !errors.As(err, &invalid) {
			t.Errorf("check: %v", err)
		}
	})
	t.Run("the shard is gone", func(t *testing.T) { // all of it was too old
		t.Parallel()
		_, r := push(t).subscribe(t, "shardId-000000000099")
		if _, err := r.Next(t.Context(), 1); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
}

// Next ends with its context and with Close, whatever it waits for.
func TestSubscriptionEnds(t *testing.T) {
	t.Parallel()
	p := push(t)
	p.Put("k", []byte("0"))
	_, r := p.subscribe(t, first)
	want(t, r, "0") // there is a subscription, which on a busy machine may take longer than what follows
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.Put("k", []byte("1"))
	want(t, r, "1") // the subscription is still there
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(t.Context(), 1)
		ended <- err
	}()
	r.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := len(p.Calls()); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
}
