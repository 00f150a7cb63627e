package eventsourcetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"thaw/eventsource"
)

func memoryFixture(kind eventsource.Kind) Fixture {
	mem := NewMemory()
	f := Fixture{Driver: mem, Virtual: true, Pattern: `{"data":{"pass":[true]}}`,
		New: func(testing.TB) *eventsource.Mapping {
			m := &eventsource.Mapping{Kind: kind, Source: eventsource.Origin{ARN: "arn:aws:memory:eu-west-1:123456789012:" + uuid.NewString()}}
			if kind == eventsource.SQS {
				mem.MakeQueue(m.Source.ARN)
			} else {
				mem.MakeStream(m.Source.ARN, 2)
			}
			return m
		},
		Put: func(_ testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
			mem.Put(m.Source.ARN, key, bodies...)
		},
		Seen: func(t testing.TB, event []byte) (all []Seen) {
			var e struct {
				Records []struct{ ID, Body string }
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.Records {
				id, err := json.Marshal(r.ID)
				if kind == eventsource.SelfManagedKafka {
					partition, offset, _ := strings.Cut(r.ID, "@")
					id, err = json.Marshal(map[string]any{"partition": partition, "offset": json.Number(offset)})
				}
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, Seen{r.Body, id})
			}
			return all
		},
		Left: func(_ testing.TB, m *eventsource.Mapping) int { return mem.Left(m.Source.ARN) },
		Stop: func(testing.TB) { mem.SetDown(true) }, Start: func(testing.TB) { mem.SetDown(false) },
	}
	switch kind {
	case eventsource.SQS:
		f.Pattern = `{"body":{"pass":[true]}}`
	case eventsource.SelfManagedKafka:
		f.Pattern = `{"value":{"pass":[true]}}`
	}
	return f
}

func TestQueueConformance(t *testing.T) { Run(t, memoryFixture(eventsource.SQS)) }

// S-068, S-070: a killed server goes on behind the checkpoint, and an enabled mapping behind what was seen.
func TestStreamConformance(t *testing.T) { Run(t, memoryFixture(eventsource.Kinesis)) }

func TestAssignedConformance(t *testing.T) { Run(t, memoryFixture(eventsource.SelfManagedKafka)) }
