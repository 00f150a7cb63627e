package logsapi

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestCompatPageIsTrue(t *testing.T) {
	page, err := os.ReadFile("../docs/compat.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Operations of CloudWatch Logs\n")
	if !ok {
		t.Fatal("docs/compat.md has no section of these operations")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	said := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\| (yes|partly) \\|").FindAllStringSubmatch(section, -1) {
		said[m[1]] = true
	}
	for name := range operations() {
		if !said[name] {
			t.Errorf("docs/compat.md does not name %s", name)
		}
		if strings.Contains(later, " "+name+" ") {
			t.Errorf("%s is there, and among those that are not", name)
		}
		delete(said, name)
	}
	for name := range said {
		t.Errorf("docs/compat.md names %s, which is not there", name)
	}
}
