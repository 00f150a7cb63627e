package eventbridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"thaw/internal/plainjson"
)

// Names of the variables that there are without a path. Source: EventBridge User Guide, "Input transformation".
const (
	varRuleARN   = "aws.events.rule-arn"
	varRuleName  = "aws.events.rule-name"
	varEvent     = "aws.events.event"      // without its detail
	varEventJSON = "aws.events.event.json" // all of it
	varIngestion = "aws.events.event.ingestion-time"
)

var reserved = []string{varRuleARN, varRuleName, varEvent, varEventJSON, varIngestion}

// placeholder is a variable in a template.
var placeholder = regexp.MustCompile(`<([A-Za-z0-9_.\-]+)>`)

// about is what a target's input is made of.
type about struct {
	event             json.RawMessage
	ruleARN, ruleName string
	ingested          time.Time
}

// input is what a target gets.
func (t *Target) input(a *about) []byte {
	switch {
	case t.Input != nil:
		return []byte(*t.Input)
	case t.InputPath != nil && *t.InputPath != "":
		steps, err := parsePath(*t.InputPath)
		if err != nil { // it could be read when it was put
			return []byte("null")
		}
		if f := find(a.event, steps); f != nil {
			return f
		}
		return []byte("null")
	case t.InputTransformer != nil:
		return t.InputTransformer.make(a)
	}
	return a.event
}

// maxMade bounds what a transformer makes, in bytes: more than any target takes. A template may name the whole event some
// hundred times.
const maxMade = 1 << 20

// make fills in the template. What is longer than maxMade is not whole. A variable outside of a string is its JSON text; one inside of a string, or in a template that
// is plain text, is put in without quotes. A path that leads nowhere is "" there, and nothing here.
func (t *Transformer) make(a *about) []byte {
	template := strings.TrimSpace(t.Template)
	plain := isPlain(template)
	var out bytes.Buffer
	quoted := false // whether a place of the template is inside of a string
	for at := 0; at < len(template) && out.Len() <= maxMade; {
		if m := placeholder.FindStringSubmatchIndex(template[at:]); m != nil && m[0] == 0 {
			value, known := t.value(template[at+m[2]:at+m[3]], a)
			if known {
				put(&out, value, quoted, plain)
				at += m[1]
				continue
			}
		}
		c := template[at]
		if c == '\\' && quoted && at+1 < len(template) {
			out.WriteByte(c)
			at++
			c = template[at]
		} else if c == '"' && !plain {
			quoted = !quoted
		}
		out.WriteByte(c)
		at++
	}
	return out.Bytes()
}

// isPlain says whether a template is text rather than JSON with variables.
func isPlain(template string) bool {
	if template != "" && strings.IndexByte(`"{[`, template[0]) >= 0 {
		return false
	}
	return !json.Valid(placeholder.ReplaceAll([]byte(template), []byte("0")))
}

func put(out *bytes.Buffer, value json.RawMessage, quoted, plain bool) {
	if !quoted && !plain {
		if value == nil {
			value = []byte(`""`)
		}
		out.Write(value)
		return
	}
	text := string(value)
	var s string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &s) == nil {
		text = s
	}
	if quoted {
		b := plainjson.Value(text)
		text = string(b[1 : len(b)-1])
	}
	out.WriteString(text)
}

// value is a variable's JSON text; nil: its path leads nowhere.
func (t *Transformer) value(name string, a *about) (value json.RawMessage, known bool) {
	switch name {
	case varRuleARN:
		return plainjson.Value(a.ruleARN), true
	case varRuleName:
		return plainjson.Value(a.ruleName), true
	case varEventJSON:
		return a.event, true
	case varIngestion:
		return plainjson.Value(a.ingested.UTC().Format(timeFormat)), true
	case varEvent:
		return withoutDetail(a.event), true
	}
	path, known := t.Paths[name]
	if !known {
		return nil, false
	}
	steps, err := parsePath(path)
	if err != nil {
		return nil, true
	}
	return find(a.event, steps), true
}

// withoutDetail is an event without its detail, which is its last member.
func withoutDetail(event json.RawMessage) json.RawMessage {
	var e wireEvent
	if json.Unmarshal(event, &e) != nil {
		return event
	}
	e.Detail = nil
	return plainjson.Value(e)
}

// check says what is wrong with a transformer, for people.
func (t *Transformer) check() error {
	for name, path := range t.Paths {
		if strings.HasPrefix(strings.ToLower(name), "aws.") {
			return fmt.Errorf("the name %s is reserved", name)
		}
		if _, err := parsePath(path); err != nil {
			return fmt.Errorf("the path of %s: %w", name, err)
		}
	}
	for _, m := range placeholder.FindAllStringSubmatch(t.Template, -1) {
		if _, known := t.value(m[1], &about{event: []byte("{}")}); !known {
			return fmt.Errorf("the template has <%s>, and the paths have no %s; there are also %s", m[1], m[1], strings.Join(reserved, ", "))
		}
	}
	return nil
}
