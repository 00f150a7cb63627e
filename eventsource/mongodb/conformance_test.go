package mongodb_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/eventsource/mongodb"
)

// S-100: a server that comes back goes on by the token.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	eventsourcetest.Run(t, eventsourcetest.Fixture{
		Driver:  mongodb.New(eventsourcetest.NewSecrets(nil), eventsourcetest.Endpoints{arn: s.URI()}),
		New:     func(testing.TB) *eventsource.Mapping { return mapping("c" + uuid.NewString()) },
		Pattern: `{"event":{"fullDocument":{"pass":[true]}}}`,
		Put: func(t testing.TB, m *eventsource.Mapping, _ string, bodies ...string) {
			for _, b := range bodies {
				var d struct{ Pass bool }
				if err := json.Unmarshal([]byte(b), &d); err != nil {
					t.Fatal(err)
				}
				doc := bson.D{{Key: "body", Value: b}, {Key: "pass", Value: d.Pass}}
				if err := s.Insert(m.Source.Database, m.Source.Collection, doc); err != nil {
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
		Stop: func(testing.TB) { s.Stop() },
		Start: func(t testing.TB) {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		},
	})
}
