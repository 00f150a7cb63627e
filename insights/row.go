package insights

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Event is a log event, as a query sees it.
type Event struct {
	Time, Ingested int64 // Unix milliseconds
	Message        string
	Stream         string
	Log            string // ACCOUNT:GROUP
	Ptr            string
}

// row is an event, or a group of events, on its way through the stages of a query.
type row struct {
	event   *Event // nil: of stats
	made    map[string]value
	columns []string // of stats, in order
	lambda  map[string]value
}

func newRow(e Event) *row { return &row{event: &e} }

func (w *row) size() int64 {
	n := int64(200)
	if w.event != nil {
		n += int64(len(w.event.Message))
	}
	for k, v := range w.made {
		n += int64(len(k) + len(v.text) + 64)
	}
	return n
}

func (w *row) set(name string, v value) {
	if w.made == nil {
		w.made = map[string]value{}
	}
	w.made[name] = v
}

func (w *row) eval(c column) value {
	if v, ok := w.made[c.name]; ok {
		return v
	}
	return c.e.eval(w)
}

// get is a field of the row.
func (w *row) get(name string) value {
	if v, ok := w.made[name]; ok {
		return v
	}
	if w.event == nil {
		return value{}
	}
	if strings.HasPrefix(name, "@") {
		return w.system(name)
	}
	return member(w.event.Message, name)
}

func (w *row) system(name string) value {
	e := w.event
	switch name {
	case "@timestamp":
		return timeOf(float64(e.Time))
	case "@ingestionTime":
		return timeOf(float64(e.Ingested))
	case "@message":
		return textOf(e.Message)
	case "@logStream":
		return textOf(e.Stream)
	case "@log":
		return textOf(e.Log)
	case "@ptr":
		return textOf(e.Ptr)
	}
	if w.lambda == nil {
		w.lambda = platform(e.Message)
	}
	return w.lambda[name]
}

// member is a member of a message that is JSON.
func member(message, path string) value {
	begin := strings.TrimLeft(message, " \t\r\n")
	if begin == "" || begin[0] != '{' || !strings.Contains(message, last(path)) && !strings.Contains(message, `\`) || !gjson.Valid(message) {
		return value{}
	}
	at := gjson.Parse(message)
	for rest := path; ; {
		// A name may have points in it: the whole rest goes before its first part.
		found, more := step(at, rest)
		if !found.Exists() {
			return value{}
		}
		if more == "" {
			return valueOf(found)
		}
		at, rest = found, more
	}
}

// last is the last part of a path; indexes are in no message.
func last(path string) string {
	part := path[strings.LastIndexByte(path, '.')+1:]
	if strings.Trim(part, "0123456789") == "" {
		return ""
	}
	return part
}

func step(at gjson.Result, path string) (found gjson.Result, rest string) {
	first, more, _ := strings.Cut(path, ".")
	var whole, part gjson.Result
	i := 0
	at.ForEach(func(key, v gjson.Result) bool {
		switch {
		case at.IsArray():
			if strconv.Itoa(i) == first {
				part = v
			}
			i++
		case key.Str == path:
			whole = v
		case key.Str == first:
			part = v
		}
		return !whole.Exists()
	})
	if whole.Exists() {
		return whole, ""
	}
	return part, more
}

func valueOf(r gjson.Result) value {
	switch r.Type {
	case gjson.Null:
		return value{}
	case gjson.String:
		return textOf(r.Str)
	case gjson.Number:
		return value{present: true, text: r.Raw, number: r.Num, isNum: true}
	case gjson.True:
		return value{present: true, text: "1", number: 1, isNum: true}
	case gjson.False:
		return value{present: true, text: "0", isNum: true}
	}
	return textOf(r.Raw)
}

var (
	platformLine = regexp.MustCompile(`^(START|END|REPORT|XRAY|INIT_START|INIT_REPORT|RESTORE_START|RESTORE_REPORT|EXTENSION|TELEMETRY)\b`)
	requestID    = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	measure      = regexp.MustCompile(`\t(?:REPORT )?(Duration|Billed Duration|Memory Size|Max Memory Used|Init Duration|Restore Duration|Billed Restore Duration): ([0-9.]+) (ms|MB)`)
)

// measures are the fields of a REPORT line. Sizes are in bytes. Source: the guide, "Supported logs and discovered fields".
var measures = map[string]string{"Duration": "@duration", "Billed Duration": "@billedDuration", "Memory Size": "@memorySize", "Max Memory Used": "@maxMemoryUsed",
	"Init Duration": "@initDuration", "Restore Duration": "@restoreDuration", "Billed Restore Duration": "@billedRestoreDuration"}

// platform finds what the platform's lines say of an invocation.
func platform(message string) map[string]value {
	out := map[string]value{}
	head := message[:min(len(message), 4<<10)]
	if id := requestID.FindString(head); id != "" {
		out["@requestId"] = textOf(id)
	}
	kind := platformLine.FindString(head)
	if kind == "" {
		return out
	}
	out["@type"] = textOf(kind)
	for _, m := range measure.FindAllStringSubmatch(head, -1) {
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			continue
		}
		if m[3] == "MB" {
			n *= 1e6
		}
		out[measures[m[1]]] = numberOf(n)
	}
	return out
}
