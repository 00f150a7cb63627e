package backlog

import (
	"errors"
	"testing"
	"time"

	"thaw/outbox"
)

// Letters are as they were after the store was opened anew.
func TestLetters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	a := &outbox.Letter{To: "arn:a", Body: []byte("one"), Group: "g", Accepted: time.Unix(5, 0).UTC(), MaxAge: time.Hour, MaxAttempts: 3, Original: []byte("was"), About: map[string]string{"RULE_ARN": "r"}}
	b := &outbox.Letter{To: "arn:b", Body: []byte("two")}
	for _, l := range []*outbox.Letter{a, b} {
		if err := s.Letters().Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Letters().Remove(t.Context(), b.Seq); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	var seen []string
	if err := s.Letters().All(t.Context(), func(l *outbox.Letter) { seen = append(seen, l.To) }); err != nil || len(seen) != 1 || seen[0] != "arn:a" {
		t.Fatal(err, seen)
	}
	got, err := s.Letters().Get(t.Context(), a.Seq)
	if err != nil || string(got.Body) != "one" || string(got.Original) != "was" || got.MaxAge != time.Hour || got.About["RULE_ARN"] != "r" || got.Group != "g" || !got.Accepted.Equal(a.Accepted) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Letters().Get(t.Context(), b.Seq); !errors.Is(err, outbox.ErrNone) {
		t.Error(err)
	}
	if err := s.Letters().Remove(t.Context(), b.Seq); err != nil {
		t.Error("removed twice:", err)
	}
}
