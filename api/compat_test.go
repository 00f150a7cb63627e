package api

import (
	"os"
	"regexp"
	"testing"
)

func TestCompatPageIsTrue(t *testing.T) {
	page, err := os.ReadFile("../docs/compat.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \| (yes|partly|not yet) \|`).FindAllStringSubmatch(string(page), -1) {
		said[m[1]] = m[2]
	}
	for _, op := range operations() {
		if there := said[op.name] == "yes" || said[op.name] == "partly"; said[op.name] == "" || there != (op.serve != nil) {
			t.Errorf("docs/compat.md says %q of %s", said[op.name], op.name)
		}
		delete(said, op.name)
	}
	for name := range said {
		t.Errorf("docs/compat.md names %s, which is no operation", name)
	}
}
