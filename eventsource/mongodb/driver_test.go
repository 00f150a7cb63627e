package mongodb_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/eventsource/mongodb"
)

const arn = "arn:aws:rds:eu-north-1:123456789012:cluster:shop"

// clock is the server's: cluster times count in seconds, and tests do not wait for one.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func start(t *testing.T, o mongotest.Options) *mongotest.Server {
	t.Helper()
	s, err := mongotest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func mapping(collection string) *eventsource.Mapping {
	return &eventsource.Mapping{Kind: eventsource.DocumentDB, Source: eventsource.Origin{ARN: arn, Database: "shop", Collection: collection}}
}

func open(t *testing.T, s *mongotest.Server, m *eventsource.Mapping, from eventsource.Start) (*eventsource.Source, eventsource.Reader) {
	t.Helper()
	src, err := mongodb.New(eventsourcetest.NewSecrets(nil), eventsourcetest.Endpoints{arn: s.URI()}).Open(t.Context(), m, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	shards, err := src.Stream.Shards(t.Context())
	if err != nil || len(shards) != 1 {
		t.Fatalf("shards %v, %v", shards, err)
	}
	r, err := src.Stream.Read(t.Context(), shards[0].ID, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return src, r
}

// quiet says that nothing more comes: it writes one more document, which has to be the next.
func quiet(t *testing.T, s *mongotest.Server, r eventsource.Reader) {
	t.Helper()
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: "the end"}}); err != nil {
		t.Fatal(err)
	}
	if got := string(eventsourcetest.Next(t, r, 1)[0].Event); !strings.Contains(got, "the end") {
		t.Errorf("there was %s", got)
	}
}

func client(t *testing.T, s *mongotest.Server) *mongo.Collection {
	t.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(s.URI()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c.Database("shop").Collection("orders")
}

// S-099: what the handler gets of an insert, an update, a replacement and a delete, with and without UpdateLookup.
func TestEvents(t *testing.T) {
	t.Parallel()
	now := &clock{t: time.Unix(1763629000, 0)}
	s := start(t, mongotest.Options{Now: now.now})
	c := client(t, s)
	id, _ := bson.ObjectIDFromHex("63eeb6e7d418cd98afb1c1d7")
	ctx := t.Context()
	if _, err := c.InsertOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "f", Value: "v"}, {Key: "n", Value: int64(5)}, {Key: "at", Value: time.UnixMilli(1763629000123)}}); err != nil {
		t.Fatal(err)
	}
	byID := bson.D{{Key: "_id", Value: id}}
	if _, err := c.UpdateOne(ctx, byID, bson.D{{Key: "$set", Value: bson.D{{Key: "f", Value: "w"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReplaceOne(ctx, byID, bson.D{{Key: "g", Value: true}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert("shop", "others", bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatal(err)
	}

	whole := mapping("")
	src, r := open(t, s, whole, eventsource.Start{At: eventsource.TrimHorizon})
	lookup := mapping("orders")
	lookup.Source.UpdateLookup = true
	_, looking := open(t, s, lookup, eventsource.Start{At: eventsource.TrimHorizon})
	want := []string{
		`{"event":{"_id":{"_data":"82691ed7c800000001"},"clusterTime":{"$timestamp":{"t":1763629000,"i":1}},"documentKey":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"}},` +
			`"fullDocument":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"},"f":"v","n":5,"at":{"$date":"2025-11-20T08:56:40.123Z"}},"ns":{"db":"shop","coll":"orders"},"operationType":"insert"}}`,
		`{"event":{"_id":{"_data":"82691ed7c800000002"},"clusterTime":{"$timestamp":{"t":1763629000,"i":2}},"documentKey":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"}},` +
			`"ns":{"db":"shop","coll":"orders"},"operationType":"update","updateDescription":{"updatedFields":{"f":"w"},"removedFields":[]}}}`,
	}
	for i, rec := range eventsourcetest.Next(t, r, 4) {
		if i < len(want) && string(rec.Event) != want[i] {
			t.Errorf("event %d\n got %s\nwant %s", i, rec.Event, want[i])
		}
		if !rec.Arrived.Equal(now.now()) || rec.Shard != "change-stream" || !strings.HasPrefix(rec.ID, "82691ed7c8") {
			t.Errorf("record %+v", rec)
		}
		eventsourcetest.AsTaken(t, eventsource.DocumentDB, rec)
		if f := rec.Filtered(); string(f.Meta) != string(rec.Event) || len(f.Data) > 0 {
			t.Errorf("filters see %s", f.Meta)
		}
	}
	if _, err := c.DeleteOne(ctx, byID); err != nil {
		t.Fatal(err)
	}
	if got := string(eventsourcetest.Next(t, r, 1)[0].Event); !strings.Contains(got, `"operationType":"delete"`) || strings.Contains(got, "fullDocument") {
		t.Errorf("delete: %s", got)
	}
	// The lookup shows the document of now: gone, for an update that is read after the deletion.
	if got := string(eventsourcetest.Next(t, looking, 2)[1].Event); !strings.Contains(got, `"fullDocument":null`) && !strings.Contains(got, `"fullDocument":{"_id"`) {
		t.Errorf("update with lookup: %s", got)
	}
	var envelope map[string]any
	if err := json.Unmarshal([]byte(src.Envelope.Head+"[]"+src.Envelope.Tail), &envelope); err != nil || envelope["eventSource"] != "aws:docdb" || envelope["eventSourceArn"] != arn {
		t.Errorf("envelope %v, %v", envelope, err)
	}
}

// Where a stream begins, with and without the right to look at the log.
func TestWhereReadingBegins(t *testing.T) {
	t.Parallel()
	for _, noLog := range []bool{false, true} { // with and without the right to look at the log
		now := &clock{t: time.Now().Add(-20 * time.Minute).Truncate(time.Second)}
		s := start(t, mongotest.Options{Now: now.now, NoLog: noLog})
		put := func(id int) {
			t.Helper()
			if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: id}}); err != nil {
				t.Fatal(err)
			}
		}
		put(1)
		s.CutLog() // the log begins with 2
		now.add(15 * time.Minute)
		put(2)
		middle := now.now().Add(2 * time.Minute)
		now.add(3 * time.Minute)
		put(3)
		now.add(3 * time.Minute)
		begun := now.now()

		_, latest := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.Latest, Time: begun})
		_, oldest := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
		_, timed := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.AtTimestamp, Time: middle})
		put(4)
		// Nobody had read anything when the server died: what came since the mapping began is not left out.
		now.add(time.Minute)
		_, later := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.Latest, Time: begun})
		for name, c := range map[string]struct {
			r     eventsource.Reader
			first int
		}{"latest": {latest, 4}, "oldest": {oldest, 2}, "at a time": {timed, 3}, "latest, later": {later, 4}} {
			got := eventsourcetest.Next(t, c.r, 1)[0]
			if want := fmt.Sprintf(`"documentKey":{"_id":%d}`, c.first); !strings.Contains(string(got.Event), want) {
				t.Errorf("%s (log shown: %v) begins with %s, want %s", name, !noLog, got.Event, want)
			}
		}
		_, after := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.After, Position: eventsourcetest.Next(t, oldest, 1)[0].Position})
		if got := string(eventsourcetest.Next(t, after, 1)[0].Event); !strings.Contains(got, `{"_id":4}`) {
			t.Errorf("behind 3 is %s", got)
		}
		quiet(t, s, after)
	}
}

func TestPositionThatIsLost(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	for i := range 2 {
		if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: i}}); err != nil {
			t.Fatal(err)
		}
	}
	src, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
	first := eventsourcetest.Next(t, r, 1)[0].Position
	s.CutLog()
	_, err := src.Stream.Read(t.Context(), "change-stream", eventsource.Start{At: eventsource.After, Position: first})
	var p *eventsource.ProblemError
	if !errors.As(err, &p) || !strings.Contains(p.Text, "no longer has the changes") {
		t.Errorf("error %v", err)
	}
}

// A collection that is dropped ends its stream with an invalidate event. Reading goes on behind it.
func TestDroppedCollection(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	src, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
	s.Drop("shop", "orders")
	all := eventsourcetest.Next(t, r, 3)
	for i, want := range []string{"insert", "drop", "invalidate"} {
		if !strings.Contains(string(all[i].Event), `"operationType":"`+want+`"`) {
			t.Errorf("%d: %s, want %s", i, all[i].Event, want)
		}
	}
	if _, err := r.Next(t.Context(), 1); !errors.Is(err, eventsource.ErrBroken) {
		t.Errorf("behind the end of the stream: %v", err)
	}
	again, err := src.Stream.Read(t.Context(), "change-stream", eventsource.Start{At: eventsource.After, Position: all[2].Position})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	quiet(t, s, again)
}

// The driver mends what it can by itself; all else opens the source anew, at the same position.
func TestServerThatDies(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	src, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
	eventsourcetest.Next(t, r, 1)

	s.KillCursors()
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: 2}}); err != nil {
		t.Fatal(err)
	}
	last := eventsourcetest.Next(t, r, 1)[0]

	failed := make(chan error, 1)
	go func() {
		_, err := r.Next(t.Context(), 1)
		failed <- err
	}()
	s.Stop()
	err := <-failed
	var p *eventsource.ProblemError
	if !errors.Is(err, eventsource.ErrBroken) || !errors.As(err, &p) {
		t.Fatalf("error %v", err)
	}
	r.Close()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: 3}}); err != nil {
		t.Fatal(err)
	}
	again, err := src.Stream.Read(t.Context(), "change-stream", eventsource.Start{At: eventsource.After, Position: last.Position})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := string(eventsourcetest.Next(t, again, 1)[0].Event); !strings.Contains(got, `{"_id":3}`) {
		t.Errorf("behind 2 is %s", got)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	_, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.Latest, Time: time.Now()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx, 1)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
	r.Close()
	for deadline := time.Now().Add(time.Minute); s.Cursors() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster still has a cursor")
		}
	}
}

// The texts of a source that refuses; a secret that was corrected helps at once.
func TestCredentialsAndTLS(t *testing.T) {
	t.Parallel()
	pair, root := eventsourcetest.Certificate(t)
	s := start(t, mongotest.Options{User: "reader", Password: "s3cret", TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	known := eventsourcetest.NewSecrets(nil)
	d := mongodb.New(known, eventsourcetest.Endpoints{arn: s.URI()})
	m := mapping("orders")
	m.Source.Access = []eventsource.Access{{Type: "BASIC_AUTH", URI: "db"}, {Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	rootJSON, _ := json.Marshal(map[string]string{"certificate": root})
	for _, c := range []struct{ login, ca, code, text string }{
		{"", "", "", "The secret db is not there."},
		{`nonsense`, "", "ESM_CONFIG_NOT_VALID", "is not the JSON object"},
		{`{"username":"reader","password":"s3cret"}`, `{"certificate":"x"}`, "ESM_CONFIG_NOT_VALID", "holds no certificate"},
		{`{"username":"reader","password":"wrong"}`, string(rootJSON), "EVENT_SOURCE_AUTHN_ERROR", "refuses the user name or the password"},
		{`{"username":"nobody","password":"s3cret"}`, string(rootJSON), "EVENT_SOURCE_AUTHN_ERROR", "refuses the user name or the password"},
	} {
		if c.login != "" {
			known.Set("db", c.login)
		}
		if c.ca != "" {
			known.Set("ca", c.ca)
		}
		if c.login == "nonsense" {
			known.Set("ca", string(rootJSON))
		}
		_, err := d.Open(t.Context(), m, eventsource.Facts{})
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || p.Code != c.code || !strings.Contains(p.Text, c.text) {
			t.Errorf("login %s: error %#v, want %s %q", c.login, err, c.code, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the secret is in %v", err)
		}
	}
	known.Set("db", `{"username":"reader","password":"s3cret"}`)
	src, err := d.Open(t.Context(), m, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}

	nowhere := mapping("orders")
	nowhere.Source.ARN = "arn:aws:rds:eu-north-1:123456789012:cluster:other"
	_, err = d.Open(t.Context(), nowhere, eventsource.Facts{})
	var p *eventsource.ProblemError
	if !errors.As(err, &p) || !strings.Contains(p.Text, "--sources "+nowhere.Source.ARN+"=mongodb://") {
		t.Errorf("error %v", err)
	}
}
