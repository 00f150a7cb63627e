package plainjson

import "testing"

func TestMarshal(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"<a> & \"b\"\n", `"<a> & \"b\"\n"`},
		{map[string]any{"b": 1, "a": []string{"x>y"}}, `{"a":["x>y"],"b":1}`},
		{"a line at its end\n", `"a line at its end\n"`},
		{nil, "null"},
	} {
		if b, err := Marshal(c.v); err != nil || string(b) != c.want || string(Value(c.v)) != c.want {
			t.Errorf("%v: %s, %v", c.v, b, err)
		}
	}
	if b, err := Marshal(make(chan int)); err == nil || string(Value(make(chan int))) != "null" {
		t.Errorf("a channel: %s, %v", b, err)
	}
}
