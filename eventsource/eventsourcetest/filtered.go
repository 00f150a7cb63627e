package eventsourcetest

import (
	"encoding/json"
	"reflect"
	"testing"

	"thaw/eventsource"
)

// AsTaken fails the test unless records, as handlers see them, are taken apart for filters as their source itself does.
func AsTaken(t testing.TB, k eventsource.Kind, records ...*eventsource.Record) {
	t.Helper()
	for _, r := range records {
		if r.Unreadable != "" { // no filter sees it
			continue
		}
		want := r.Filtered()
		got, err := eventsource.FilteredOf(k, r.Event)
		var gotMeta, wantMeta any
		if err != nil || json.Unmarshal(got.Meta, &gotMeta) != nil || json.Unmarshal(want.Meta, &wantMeta) != nil || !reflect.DeepEqual(gotMeta, wantMeta) {
			t.Errorf("of %s filters see\n%s, want\n%s (%v)", r.Event, got.Meta, want.Meta, err)
		}
		if len(got.Data) != len(want.Data) {
			t.Errorf("of %s filters see %s, want %s", r.Event, got.Data, want.Data)
			continue
		}
		for i, d := range want.Data {
			if got.Data[i].Name != d.Name || string(got.Data[i].Bytes) != string(d.Bytes) {
				t.Errorf("of %s filters see %s, want %s", r.Event, got.Data, want.Data)
			}
		}
	}
}
