package gateway

import (
	"strings"
	"time"
)

// logFormat is the format of an access log, taken apart: text and variables by turns.
type logFormat struct{ parts []logPart }

type logPart struct{ text, name string }

// newLogFormat reads a format: text with $context.NAME.
func newLogFormat(format string) *logFormat {
	f := &logFormat{}
	for format != "" {
		before, rest, ok := strings.Cut(format, "$context.")
		p := logPart{text: before}
		if ok {
			p.name, rest = nameAt(rest)
		}
		f.parts = append(f.parts, p)
		format = rest
	}
	return f
}

// line is one line: - stands for what a request does not have. A value cannot end the line, or a string of JSON.
func (f *logFormat) line(value func(string) (string, bool)) string {
	var b strings.Builder
	for _, p := range f.parts {
		b.WriteString(p.text)
		if p.name == "" {
			continue
		}
		if v, ok := value(p.name); ok {
			if p.name != "error.messageString" { // that one brings its quotes along
				v = escaped(v)
			}
			b.WriteString(v)
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

func escaped(v string) string {
	if !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) {
		return v
	}
	var b strings.Builder
	for _, r := range v {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// logAccess writes the line of a request.
func (c *call) logAccess() { c.s.writeAccess(c.place.Stage, c.stage.log.line(c.variable)) }

// writeAccess writes a line into the access log of a stage.
func (s *Server) writeAccess(st *Stage, line string) {
	group := groupOf(st.AccessLog.Destination)
	if group == "" || s.AccessLog == nil {
		return
	}
	s.lines(group).Append(s.Now(), line+"\n")
}

// lines is the server's stream in a log group: one for each run, as a stream of AWS's is one of its machines'.
func (s *Server) lines(group string) Lines {
	to, ok := s.logs.Load(group)
	if !ok {
		to, _ = s.logs.LoadOrStore(group, s.AccessLog(group, streamName(s.started)))
	}
	return to.(Lines)
}

func streamName(at time.Time) string {
	return "api-gateway/" + at.UTC().Format("2006-01-02T15.04.05.000")
}

// groupOf is the name of a log group by its ARN: arn:aws:logs:REGION:ACCOUNT:log-group:NAME[:*].
func groupOf(arn string) string {
	_, name, ok := strings.Cut(arn, ":log-group:")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(name, ":*")
}
