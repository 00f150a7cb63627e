package eventsource

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// rec makes records with these ids.
func recs(ids ...string) (all []*Record) {
	for _, id := range ids {
		all = append(all, &Record{ID: id, Event: []byte(`{"id":"` + id + `"}`), Arrived: noon.Add(-time.Minute)})
	}
	return all
}

func ids(all []*Record) string {
	var s []string
	for _, r := range all {
		s = append(s, r.ID)
	}
	return strings.Join(s, "")
}

// verdict is a Verdict in short: done 12, back 3, lost RetryAttemptsExhausted*2 3, again 3*1 after 500ms.
func verdict(v Verdict) string {
	var s []string
	if len(v.Done) > 0 {
		s = append(s, "done "+ids(v.Done))
	}
	if len(v.Back) > 0 {
		s = append(s, "back "+ids(v.Back))
	}
	for _, l := range v.Lost {
		s = append(s, fmt.Sprintf("lost %s*%d %s", l.Condition, l.Attempts, ids(l.Records)))
	}
	for _, b := range v.Again {
		wait := time.Duration(0)
		if !b.NotUntil.IsZero() {
			wait = b.NotUntil.Sub(noon)
		}
		s = append(s, fmt.Sprintf("again %s*%d after %v", ids(b.Records), b.Attempts, wait))
	}
	return strings.Join(s, ", ")
}

// S-008, S-037 to S-041, S-056, S-061 to S-065, S-081, S-091.
func TestJudge(t *testing.T) {
	failures := func(ids ...string) string {
		return `{"batchItemFailures":[{"itemIdentifier":"` + strings.Join(ids, `"},{"itemIdentifier":"`) + `"}]}`
	}
	kafka := Policy{MaxRetries: -1, Partial: true, Traits: traits[SelfManagedKafka]}
	stream := Policy{MaxRetries: -1, Traits: traits[Kinesis]}
	partial := Policy{MaxRetries: -1, Partial: true, Traits: traits[Kinesis]}
	queue := Policy{Queue: true, Partial: true, Traits: traits[SQS]}
	with := func(p Policy, change func(*Policy)) Policy { change(&p); return p }
	for _, c := range []struct {
		name     string
		policy   Policy
		attempts int
		outcome  Outcome
		want     string
	}{
		{"an answer is of no interest without partial answers", stream, 0, Outcome{Answered, []byte(failures("2"))}, "done 1234"},
		{"an error has the same batch tried again", stream, 0, Outcome{Ending: Erred}, "again 1234*1 after 500ms"},
		{"the wait grows", stream, 3, Outcome{Ending: Erred}, "again 1234*4 after 500ms"},
		{"one retry is two attempts", with(stream, func(p *Policy) { p.MaxRetries = 1 }), 1, Outcome{Ending: Erred}, "lost RetryAttemptsExhausted*2 1234"},
		{"no retry is one attempt", with(stream, func(p *Policy) { p.MaxRetries = 0 }), 0, Outcome{Ending: Erred}, "lost RetryAttemptsExhausted*1 1234"},
		{"throttling counts for nothing", with(stream, func(p *Policy) { p.MaxRetries = 0 }), 0, Outcome{Ending: Refused}, "again 1234*0 after 500ms"},
		{"a split counts for nothing", with(stream, func(p *Policy) { p.MaxRetries = 0; p.Bisect = true }), 0, Outcome{Ending: Erred},
			"again 12*0 after 500ms, again 34*0 after 0s"},
		{"the lowest reported is where a stream goes on", partial, 0, Outcome{Answered, []byte(failures("3", "2"))}, "done 1, again 234*1 after 500ms"},
		{"and where it is cut, without an attempt", with(partial, func(p *Policy) { p.Bisect = true }), 0, Outcome{Answered, []byte(failures("3"))}, "done 12, again 34*0 after 500ms"},
		{"a first record that is reported is a failure of all", with(partial, func(p *Policy) { p.Bisect = true }), 0, Outcome{Answered, []byte(failures("1"))},
			"again 12*0 after 500ms, again 34*0 after 0s"},
		{"a partial answer counts as an attempt", with(partial, func(p *Policy) { p.MaxRetries = 0 }), 0, Outcome{Answered, []byte(failures("4"))},
			"done 123, lost RetryAttemptsExhausted*1 4"},
		{"a queue gets exactly what is reported back", queue, 0, Outcome{Answered, []byte(failures("2"))}, "done 134, back 2"},
		{"an error gives all back", queue, 0, Outcome{Ending: Erred}, "back 1234"},
		{"Kafka tries exactly what is reported", with(kafka, func(p *Policy) {}), 0, Outcome{Answered, []byte(`{"batchItemFailures":[{"itemIdentifier":{"partition":"t-0","offset":2}}]}`)},
			"done 134, again 2*1 after 500ms"},
		{"Kafka knows no other partition", kafka, 0, Outcome{Answered, []byte(`{"batchItemFailures":[{"itemIdentifier":{"partition":"t-1","offset":2}}]}`)}, "again 1234*1 after 500ms"},
	} {
		c.policy.Delays = AWSDelays()
		b := Batch{Records: recs("1", "2", "3", "4"), Attempts: c.attempts}
		if c.policy.Traits.Identify != nil {
			for i, r := range b.Records {
				r.ID = KafkaID("t", 0, int64(i+1))
			}
		}
		v := Judge(b, c.outcome, c.policy, noon)
		got := strings.NewReplacer("t-0@", "").Replace(verdict(v))
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A queue that counts how often it gives a message has it given up when its last delivery fails; with MaxRetries a batch is
// tried again before it is given back.
func TestJudgeOfShareGroups(t *testing.T) {
	for retries, want := range map[int][]string{
		-1: {"back 13, lost RetryAttemptsExhausted*5 2"},
		0:  {"back 13, lost RetryAttemptsExhausted*5 2"},
		1:  {"again 123*1 after 500ms", "back 13, lost RetryAttemptsExhausted*5 2"},
	} {
		b := Batch{Records: recs("1", "2", "3")}
		b.Records[1].Last, b.Records[1].Deliveries = true, 5
		p := Policy{Queue: true, MaxRetries: retries, Traits: traits[SelfManagedKafka], Delays: AWSDelays()}
		for _, want := range want {
			v := Judge(b, Outcome{Ending: Erred}, p, noon)
			if got := verdict(v); got != want {
				t.Errorf("%d retries: %s, want %s", retries, got, want)
			}
			if len(v.Again) > 0 {
				b = v.Again[0]
			}
		}
	}
}

// S-038 to S-040, S-063, S-064.
func TestPartialAnswers(t *testing.T) {
	batch := recs("1", "2")
	for answer, want := range map[string]string{
		``: "none", `null`: "none", `""`: "none", `[]`: "none", ` {} `: "none", `{"batchItemFailures":[]}`: "none", `{"batchItemFailures":null}`: "none", `{"statusCode":200}`: "none",
		`{"batchItemFailures":[{"itemIdentifier":"2"}]}`: "2", `{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"2"}]}`: "2",
		`{"batchItemFailures":[{"itemIdentifier":""}]}`: "all", `{"batchItemFailures":[{"itemIdentifier":null}]}`: "all", `{"batchItemFailures":[{"foo":"notvalid"}]}`: "all",
		`{"batchItemFailures":[{"itemIdentifier":"3"}]}`: "all", `{"batchItemFailures":["2"]}`: "all", `{"batchItemFailures":"2"}`: "all",
		`{"batchItemFailures":[{"itemIdentifier":2}]}`: "all", `not JSON`: "all", `"text"`: "all", `[1]`: "all", `3`: "all", `{"batchItemFailures":`: "all",
	} {
		failed, ok := reported([]byte(answer), batch, traits[SQS])
		got := "all"
		if ok {
			got = "none"
			for r := range failed {
				got = r.ID
			}
		}
		if got != want {
			t.Errorf("%s: %s failed, want %s", answer, got, want)
		}
	}
}

// S-059, S-060: only what is too old is given up.
func TestExpire(t *testing.T) {
	b := Batch{Records: recs("1", "2", "3"), Attempts: 2}
	b.Records[0].Arrived, b.Records[2].Arrived = noon.Add(-2*time.Minute), time.Time{}
	fresh, lost := Expire(b, Policy{MaxAge: 90 * time.Second}, noon)
	if ids(fresh.Records) != "23" || len(lost) != 1 || ids(lost[0].Records) != "1" || lost[0].Condition != RecordAgeExceeded || lost[0].Attempts != 2 {
		t.Errorf("%s is fresh, lost %+v", ids(fresh.Records), lost)
	}
	if fresh, lost := Expire(b, Policy{MaxAge: -1}, noon); len(lost) > 0 || len(fresh.Records) != 3 {
		t.Error("without an age something is too old")
	}
	if _, lost := Expire(b, Policy{MaxAge: -1, Retention: 110 * time.Second}, noon); len(lost) != 1 || ids(lost[0].Records) != "1" { // S-067
		t.Errorf("what has left the source: %+v", lost)
	}
}

// S-061: of eight records one is poisoned; all others are done with, in order, and it alone is lost.
func TestBisectionFindsThePoison(t *testing.T) {
	for poison := range 8 {
		all := recs("0", "1", "2", "3", "4", "5", "6", "7")
		p := Policy{MaxRetries: 1, Bisect: true, Traits: traits[Kinesis]}
		var order []string
		for work := []Batch{{Records: all}}; len(work) > 0; {
			b := work[0]
			o := Outcome{Ending: Answered}
			if slices.Contains(b.Records, all[poison]) {
				o.Ending = Erred
			}
			v := Judge(b, o, p, noon)
			for _, r := range v.Done {
				order = append(order, r.ID)
			}
			for _, l := range v.Lost {
				order = append(order, "lost "+ids(l.Records), fmt.Sprint(l.Attempts))
			}
			work = append(v.Again, work[1:]...)
		}
		var want []string
		for i, r := range all {
			if i == poison {
				want = append(want, "lost "+r.ID, "2")
			} else {
				want = append(want, r.ID)
			}
		}
		if !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	}
}
