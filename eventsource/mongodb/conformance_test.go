package mongodb_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/eventsource/mongodb"
)

func TestMain(m *testing.M) { eventsourcetest.Main(m) }

// S-100: a server that comes back goes on by the token.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	f := fixture(s.URI(), s.Insert)
	f.Stop = func(testing.TB) { s.Stop() }
	f.Start = func(t testing.TB) {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	eventsourcetest.Run(t, f)
}

// The same in front of a server that somebody else has written. It can neither begin at a time nor be killed.
func TestConformanceOfAnotherServer(t *testing.T) {
	t.Parallel()
	uri := eventsourcetest.MongoJava(t)
	c, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	eventsourcetest.Run(t, fixture(uri, func(db, coll string, docs ...bson.D) error {
		for _, d := range docs {
			if _, err := c.Database(db).Collection(coll).InsertOne(t.Context(), d); err != nil {
				return err
			}
		}
		return nil
	}))
}

func fixture(uri string, insert func(db, coll string, docs ...bson.D) error) eventsourcetest.Fixture {
	return eventsourcetest.Fixture{
		Driver:  mongodb.New(eventsourcetest.NewSecrets(nil), eventsourcetest.Endpoints{arn: uri}),
		New:     func(testing.TB) *eventsource.Mapping { return mapping("c" + uuid.NewString()) },
		Pattern: `{"event":{"fullDocument":{"pass":[true]}}}`,
		Put: func(t testing.TB, m *eventsource.Mapping, _ string, bodies ...string) {
			for _, b := range bodies {
				var d struct{ Pass bool }
				if err := json.Unmarshal([]byte(b), &d); err != nil {
					t.Fatal(err)
				}
				doc := bson.D{{Key: "body", Value: b}, {Key: "pass", Value: d.Pass}}
				if err := insert(m.Source.Database, m.Source.Collection, doc); err != nil {
					t.Fatal(err)
				}
			}
		},
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				Events []struct {
					Event struct {
						ID struct {
							Data string `json:"_data"`
						} `json:"_id"`
						FullDocument struct{ Body string }
					}
				}
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.Events {
				id, err := json.Marshal(r.Event.ID.Data)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, eventsourcetest.Seen{Body: r.Event.FullDocument.Body, ID: id})
			}
			return all
		},
	}
}
