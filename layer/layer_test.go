package layer

import (
	"context"
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:lambda:eu-west-1:123456789012:layer:my-Layer_1"
	for s, want := range map[string]Reference{
		"my-Layer_1": {Name: "my-Layer_1"},
		arn:          {Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "my-Layer_1"},
		arn + ":7":   {Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "my-Layer_1", Number: 7},
	} {
		if got, ok := Parse(s); !ok || got != want {
			t.Errorf("%s: %+v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "a b", "a.b", arn + ":", arn + ":x", arn + ":1:2", arn + ":-1", arn + ":99999999999", "arn:aws:lambda:::awslayer:x",
		"arn:aws:lambda:eu-west-1:1:layer:x", "arn:aws:lambda:eu-west-1:123456789012:function:x", "arn:"} {
		if got, ok := Parse(s); ok {
			t.Errorf("%q is taken for %+v", s, got)
		}
	}
}

// broken is a store that writes nothing.
type broken struct{}

var errBroken = errors.New("the disk is full")

func (broken) Put(context.Context, *Record, uint64) (uint64, error) { return 0, errBroken }
func (broken) List(context.Context) (map[Key]Stored, error)         { return map[Key]Stored{}, nil }

// What could not be stored is not there.
func TestAWriteThatFails(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), broken{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Publish(t.Context(), Key{Name: "a"}, "aws", Version{SHA256: "x"}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if l.Get(Key{Name: "a"}) != nil || len(l.All()) > 0 {
		t.Error("it is there")
	}
	if _, err := l.Delete(t.Context(), Key{Name: "a"}, 1); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// A version that does not say what it is for is found by no filter; a filter that asks nothing finds all.
func TestFor(t *testing.T) {
	t.Parallel()
	said, silent := &Version{Runtimes: []string{"a", "b"}, Architectures: []string{"x"}}, &Version{}
	for _, c := range []struct {
		v                     *Version
		runtime, architecture string
		want                  bool
	}{{said, "", "", true}, {said, "b", "x", true}, {said, "c", "x", false}, {said, "b", "y", false}, {silent, "", "", true}, {silent, "a", "", false}} {
		if got := c.v.For(c.runtime, c.architecture); got != c.want {
			t.Errorf("%+v for %q, %q: %v", c.v, c.runtime, c.architecture, got)
		}
	}
}
