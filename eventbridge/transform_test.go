package eventbridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

const sample = `{"version":"0","id":"7bf73129","detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","account":"123456789012","time":"2015-11-11T21:29:54Z","region":"us-east-1","resources":["arn:1","arn:2"],"detail":{"instance-id":"i-0123456789","state":"RUN\"NING","n":1.50,"list":[{"a":1},{"a":"<state>"}],"empty":null}}`

func aboutSample() *about {
	return &about{event: json.RawMessage(sample), ruleARN: "arn:aws:events:us-east-1:123456789012:rule/example", ruleName: "example", ingested: time.Date(2015, 11, 11, 21, 29, 55, 0, time.UTC)}
}

// Inputs that transformers and paths make, with the quoting rules of the documents.
func TestInputs(t *testing.T) {
	var b strings.Builder
	paths := map[string]string{"instance": "$.detail.instance-id", "state": "$.detail.state", "n": "$.detail.n", "list": "$.detail.list", "second": "$.detail.list[1].a", "all": "$.detail.list[*].a",
		"resources": "$.resources", "none": "$.detail.none", "null": "$.detail.empty", "bracket": "$.detail['instance-id']", "whole": "$"}
	for _, template := range []string{
		`"instance <instance> is in <state>"`, `<instance> is in state <state>`, `{"instance":<instance>,"state":<state>,"n":<n>}`, `{"instance":"<instance>","state":"is \"<state>\"","n":"<n>"}`,
		`{"list":<list>,"in":"of <list>","all":<all>,"second":<second>}`, `{"none":<none>,"none2":"<none>","null":<null>,"bracket":<bracket>}`, `[<n>, <instance>]`, `<list>`, `<instance>`,
		`{"rule":<aws.events.rule-arn>,"name":"<aws.events.rule-name>","at":<aws.events.event.ingestion-time>}`, `{"event":<aws.events.event>}`, `{"all":<aws.events.event.json>}`,
		"\"The instance <instance>\"\n\"is <state>\"", `{"unknown":"<b>bold</b>"}`, `{"a": "1 < 2", "s": <state>}`, `"\\<state>\\"`, `plain text`, `true`,
	} {
		x := &Target{InputTransformer: &Transformer{Paths: paths, Template: template}}
		got := x.input(aboutSample())
		fmt.Fprintf(&b, "%s\n  -> %s", template, got)
		if !json.Valid(got) {
			fmt.Fprintf(&b, "   (no JSON)")
		}
		fmt.Fprintln(&b)
	}
	for _, path := range []string{"$", "$.detail", "$.detail.instance-id", "$.detail.list[0].a", "$.detail.list[7]", "$.detail.none", "$.detail.*", "$.resources[*]", "$.detail-type"} {
		fmt.Fprintf(&b, "%s\n  -> %s\n", path, (&Target{InputPath: &path}).input(aboutSample()))
	}
	golden.Equal(t, "testdata/inputs.golden", b.String())
}

func FuzzTransform(f *testing.F) {
	f.Add(`{"a":<x>,"b":"<x> \" <aws.events.event.json>"}`, "$.detail.list[*].a", `{"detail":{"list":[1,"\"}"]}}`)
	f.Fuzz(func(t *testing.T, template, path, event string) {
		x := &Transformer{Paths: map[string]string{"x": path}, Template: template}
		if x.check() != nil || !json.Valid([]byte(event)) {
			return
		}
		got := x.make(&about{event: json.RawMessage(event), ruleARN: `a"b`})
		// A template that is JSON with variables stays JSON, whatever their values are.
		if sound := placeholder.ReplaceAllString(template, "0"); json.Valid([]byte(sound)) && !json.Valid(got) {
			t.Errorf("%q of %q with %q: %q", template, event, path, got)
		}
	})
}
