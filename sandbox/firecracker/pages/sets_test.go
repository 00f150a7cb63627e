package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSets holds that working sets are there after a restart, that damaged ones are not, and that they are bounded.
func TestSets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sets")
	s, err := OpenSets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put("a1", WorkingSet{{100, 2}, {5, 3}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tempPrefix+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenSets(dir); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%d files after a restart", len(list))
	}
	if got := fmt.Sprint(s.Get("a1", 1<<20)); got != "[{5 3} {100 2}]" {
		t.Errorf("it is %s, in the order of pages", got)
	}
	if got := s.Get("b2", 1<<20); got != nil {
		t.Errorf("of another snapshot: %v", got)
	}
	if got := s.Get("a1", 50*Size); got != nil { // of a larger memory: of no use, and removed
		t.Errorf("for a smaller memory: %v", got)
	}
	if got := s.Get("a1", 1<<20); got != nil {
		t.Errorf("it is there again: %v", got)
	}
	for i := range maxSets + 2 {
		id := fmt.Sprintf("%06x", i)
		if err := s.Put(id, WorkingSet{{1, 1}}); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-maxSets) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, id), at, at); err != nil {
			t.Fatal(err)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != maxSets || list[0].Name() != "000002" {
		t.Errorf("%d sets, the oldest %s: %v", len(list), list[0].Name(), err)
	}
}
