package api_test

import (
	"strings"
	"testing"
)

// PublishTo is of functions with a capacity provider, which there are none of: its one value is refused for all others,
// any other one as the model does, and $LATEST.PUBLISHED is nothing that exists. Source: spec 7.1, 2.3, 20.2.
func TestPublishTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published("orders", 1)
	const refused = `{"Type":"User","message":"PublishTo is supported for functions with a capacity provider only."}`
	invalid := func(v string) string {
		return `{"message":"1 validation error detected: Value '` + v + `' at 'publishTo' failed to satisfy constraint: Member must satisfy enum value set: [LATEST_PUBLISHED]"}`
	}
	create := `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h.h","Role":"` + role + `","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},"PublishTo":"`
	for _, c := range []struct{ method, path, body string }{
		{"POST", base + "/orders/versions", `{"PublishTo":"`},
		{"PUT", base + "/orders/code", `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==","Publish":true,"PublishTo":"`},
		{"POST", base, create},
	} {
		w.want(w.do(c.method, c.path, c.body+`LATEST_PUBLISHED"}`), 400, refused)
		w.want(w.do(c.method, c.path, c.body+`LATEST"}`), 400, invalid("LATEST"))
	}
	if got := w.do("GET", base+"/orders/versions", ""); strings.Count(got.body, `"Version":`) != 2 {
		t.Errorf("what was refused was published: %s", got.body)
	}
	for _, got := range []answer{w.do("GET", base+"/orders?Qualifier=$LATEST.PUBLISHED", ""), w.do("POST", base+"/orders:$LATEST.PUBLISHED/invocations", "{}")} {
		w.want(got, 404, `{"Type":"User","Message":"Function not found: `+ordersARN+`:$LATEST.PUBLISHED"}`)
	}
}
