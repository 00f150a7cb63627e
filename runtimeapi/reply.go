package runtimeapi

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// reply is one small answer.
type reply struct {
	status      int
	contentType string
	body        []byte
	last        bool   // the connection ends after it
	allow       string // of a 405
	identifier  string // of an extension that registered
}

// renderLimit is the size up to which copying a body behind its head is cheaper than a second write.
const renderLimit = 64 << 10

var accepted = reply{status: 202, contentType: "application/json", body: []byte(`{"status":"OK"}` + "\n")}

// failure is an error answer. Source: AWS Lambda Developer Guide, Runtime API: every error body has these two members.
func failure(status int, errorType, message string) reply {
	b := append([]byte(`{"errorMessage":`), quote(message)...)
	b = append(b, `,"errorType":`...)
	b = append(b, quote(errorType)...)
	return reply{status: status, contentType: "application/json", body: append(b, "}\n"...)}
}

var statusText = map[int]string{
	200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone",
	413: "Request Entity Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
}

func (r reply) render(headOnly bool) []byte {
	b := make([]byte, 0, 128+len(r.body))
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(b, ' ')
	b = append(b, statusText[r.status]...)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, r.contentType...)
	if r.allow != "" {
		b = append(b, "\r\nAllow: "...)
		b = append(b, r.allow...)
	}
	if r.identifier != "" {
		b = append(b, "\r\nLambda-Extension-Identifier: "...)
		b = append(b, r.identifier...)
	}
	if r.last {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	b = append(b, "\r\n\r\n"...)
	if headOnly {
		return b
	}
	return append(b, r.body...)
}

// renderEvent is the answer of a next call. The event is behind the head unless it is large.
//
// Optional headers are left out when empty: old clients crash on empty values.
// Source: AWS Lambda Developer Guide, Runtime API, "Next invocation"; aws-lambda-runtime-interface-emulator, rapi/rendering.
func renderEvent(in *invocation) (head, body []byte) {
	n := 512 + len(in.FunctionARN) + len(in.TraceID) + len(in.ClientContext) + len(in.CognitoIdentity)
	small := len(in.event) <= renderLimit
	if small {
		n += len(in.event)
	}
	b := make([]byte, 0, n)
	b = append(b, "HTTP/1.1 200 OK\r\n"...)
	contentType := in.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	b = appendHeader(b, "Content-Type", contentType)
	b = appendHeader(b, "Lambda-Runtime-Aws-Request-Id", in.RequestID)
	b = appendHeader(b, "Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.DeadlineUnixMs, 10))
	b = appendHeader(b, "Lambda-Runtime-Invoked-Function-Arn", in.FunctionARN)
	for _, h := range [...]field{
		{"Lambda-Runtime-Trace-Id", in.TraceID},
		{"Lambda-Runtime-Client-Context", in.ClientContext},
		{"Lambda-Runtime-Cognito-Identity", in.CognitoIdentity},
		{"Lambda-Runtime-Aws-Tenant-Id", in.TenantID},
		{"Lambda-Runtime-Invocation-Id", in.InvocationID},
	} {
		if h.value != "" {
			b = appendHeader(b, h.name, h.value)
		}
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(in.event)), 10)
	b = append(b, "\r\n\r\n"...)
	if small {
		return append(b, in.event...), nil
	}
	return b, in.event
}

// appendHeader writes one header. Clients parse values strictly, and what invokers send reaches them here, so control characters
// go, and what is not ASCII is escaped as JSON does it (the values that may hold such text are JSON).
func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != 0x7f {
				b = append(b, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(value[i:])
		b = appendEscaped(b, r)
		i += size
	}
	return append(b, "\r\n"...)
}

func appendEscaped(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	unit := func(u rune) {
		b = append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	if r > 0xffff {
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
	} else {
		unit(r)
	}
	return b
}

// quote is a JSON string of s.
func quote(s string) []byte {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < ' ' || c == 0x7f:
			b = appendEscaped(b, rune(c))
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return append(b, '"')
}

// unescape decodes %XX in one path segment; what does not decode stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
