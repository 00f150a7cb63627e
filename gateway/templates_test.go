package gateway

import (
	"fmt"
	"testing"
)

// What a template says beside its text reaches whoever asked for it.
func TestTemplates(t *testing.T) {
	var all VTL
	in := &TemplateInput{Body: []byte(`{"a":"b"}`), Stage: map[string]string{"s": "1"}, Context: func(name string) string { return map[string]string{"identity.sourceIp": "10.0.0.1"}[name] }}
	for range 2 { // the second is kept from the first
		out, err := all.Render(`#set($context.responseOverride.status = 418)#set($context.requestOverride.header.X = "y")#set($context.requestOverride.querystring.q = 1)`+
			`$input.path('$.a') $stageVariables.s $context.identity.sourceIp`, in)
		if err != nil || string(out) != "b 1 10.0.0.1" {
			t.Errorf("%s, %v", out, err)
		}
	}
	if got := fmt.Sprint(in.Override); got != "{418 map[X:y] map[] map[q:1]}" {
		t.Error(got)
	}
	for _, wrong := range []string{`#set($context.responseOverride.status = 9)`, `#set($context.responseOverride.colour.a = 1)`, `#if(`} {
		if out, err := all.Render(wrong, in); err == nil {
			t.Errorf("%s gives %s", wrong, out)
		}
	}
}
