package function

import (
	"maps"
	"testing"
)

// entryOf is a function with the versions 1 to 3 and with what edit gives it.
func entryOf(edit func(*Record)) *Entry {
	v := NewView()
	for n := range 3 {
		number := n + 1
		v.Apply(Change{Revision: uint64(number), Key: Key{"1", "r", "a"}, Incarnation: 1, Number: number, Version: &VersionRecord{Number: NumberOf(number), Life: Live}})
	}
	v.Apply(testRecord("a", 9, func(r *Record) { r.Numbers = []int{1, 2, 3}; edit(r) }))
	v.Loaded()
	return v.All()[0]
}

// C-066, C-068: where a qualifier leads.
func TestRoute(t *testing.T) {
	e := entryOf(func(r *Record) {
		r.Aliases = map[Qualifier]Alias{
			"live":   {Version: "1"},
			"canary": {Version: "1", Weights: map[VersionNumber]float64{"2": 0.25}},
			"all":    {Version: "1", Weights: map[VersionNumber]float64{"2": 1}},
			"none":   {Version: "1", Weights: map[VersionNumber]float64{"2": 0}},
			"head":   {Version: Latest},
			"lost":   {Version: "9"},
		}
	})
	cases := []struct {
		qualifier Qualifier
		dice      float64
		want      VersionNumber // "": nothing
	}{
		{"", 0, Latest}, {Latest, 0.9, Latest}, {"2", 0.5, "2"}, {"4", 0, ""}, {"02", 0, ""}, {"$latest", 0, ""}, {Latest + ".PUBLISHED", 0, ""},
		{"live", 0, "1"}, {"live", 0.999, "1"}, {"head", 0.5, Latest}, {"other", 0, ""}, {"lost", 0, ""},
		{"canary", 0, "2"}, {"canary", 0.2499, "2"}, {"canary", 0.25, "1"}, {"canary", 0.999, "1"},
		{"all", 0.9999, "2"}, {"none", 0, "1"},
	}
	for _, c := range cases {
		var got VersionNumber
		if v := e.Route(c.qualifier, c.dice); v != nil {
			got = v.Number
		}
		if got != c.want {
			t.Errorf("%q with %v leads to %q, want %q", c.qualifier, c.dice, got, c.want)
		}
	}
	if v := e.Named("all"); v == nil || v.Number != "1" {
		t.Errorf("all names %+v, want its primary version", v)
	}
	if n := testing.AllocsPerRun(100, func() { e.Route("canary", 0.1) }); n != 0 {
		t.Errorf("a route allocates %v times", n)
	}
}

// Provisioned concurrency of an alias is that of its versions.
func TestProvisionedConcurrencyOfAliases(t *testing.T) {
	e := entryOf(func(r *Record) {
		r.Aliases = map[Qualifier]Alias{"live": {Version: "1", Weights: map[VersionNumber]float64{"2": 0.25}}, "old": {Version: "3"}}
		r.Provisioned = map[Qualifier]Provision{"live": {Requested: 10}, "3": {Requested: 4}}
	})
	got := map[VersionNumber]int{}
	for _, n := range []VersionNumber{"1", "2", "3", Latest} {
		got[n] = e.ProvisionedOf(n)
	}
	if want := (map[VersionNumber]int{"1": 7, "2": 3, "3": 4, Latest: 0}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := e.Record.ProvisionedTotal(); n != 14 {
		t.Errorf("%d together, want 14", n)
	}
}
