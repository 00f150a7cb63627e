package logpattern

import (
	"errors"
	"strings"
	"testing"
)

// Messages of the guide's examples.
const (
	trail = `{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","arrayKey":["value","another value"],` +
		`"objectList":[{"name":"a","id":1},{"name":"b","id":2}],"SomeObject":null,"ThisFlag":true}`
	users = `{"user":{"id":1,"email":"John.Stiles@example.com"},"users":[{"id":2,"email":"John.Doe@example.com"},{"id":3,"email":"Jane.Doe@example.com"}],` +
		`"actions":["GET","PUT","DELETE"],"coordinates":[[0,1,2],[4,5,6],[7,8,9]]}`
	access500 = `127.0.0.1 - frank [10/Oct/2000:13:35:22 -0700] "GET /apache_pb.gif HTTP/1.0" 500 5324`
	access404 = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`
	twoWords  = "ERROR WARN message"
	anError   = "ERROR message"
	aWarning  = "WARN message"
)

// TestGuide holds the examples of the User Guide's chapter on filter patterns.
func TestGuide(t *testing.T) {
	for _, tc := range []struct {
		pattern, message string
		want             bool
	}{
		{"ERROR", "[ERROR] A fatal exception has occurred", true},
		{"ERROR", "Exiting with ERRORCODE: -1", true},
		{`"ERROR" - "Exiting"`, "Exiting with ERRORCODE: -1", false},
		{"ERROR Exception", "[ERROR] Caught IllegalArgumentException", true},
		{"ERROR Exception", "[ERROR] Unhandled", false},
		{"Failed to process the request", "[WARN] Failed to process the request", true},
		{"Failed to process the request", "[ERROR] Unable to continue: Failed to process the request", true},
		{`"INTERNAL SERVER ERROR"`, "[ERROR 500] INTERNAL SERVER ERROR", true},
		{`"INTERNAL SERVER ERROR"`, "[ERROR 500] SERVER ERROR, INTERNAL", false},
		{"%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", true},
		{"%colou?r%", "my color", true},
		{`%10\.10\.0\.1%`, "from 10.10.0.1", true},
		{`%10\.10\.0\.1%`, "from 10x10.0.1", false},
		{"?ERROR ?WARN", twoWords, true},
		{"?ERROR ?WARN", anError, true},
		{"?ERROR ?WARN", aWarning, true},
		{"ERROR WARN", anError, false},
		{"ERROR WARN", twoWords, true},
		{"ERROR -WARN", anError, true},
		{"ERROR -WARN", twoWords, false},
		{"?ERROR REQUEST", "a REQUEST", true}, // ? is ignored beside other words
		{"?ERROR -REQUEST", "an INFO", true},

		{"[w1=ERROR, w2]", anError, true},
		{"[w1=ERROR, w2]", twoWords, false},
		{"[w1=ERROR, w2]", aWarning, false},
		{"[w1=ERROR || w1=WARN, w2]", anError, true},
		{"[w1=ERROR || w1=WARN, w2]", aWarning, true},
		{"[w1!=ERROR && w1!=WARN, w2]", aWarning, false},
		{"[w1=!ERROR&&w1=!WARN, w2]", "INFO message", true},
		{"[ip, user, username, timestamp, request, status_code, bytes]", access500, true},
		{"[ip, user, username, timestamp, request, status_code]", access500, false},
		{"[..., status_code, bytes]", access500, true},
		{"[ip, user, ..., status_code, bytes]", access500, true},
		{"[ip, user, ...]", access500, true},
		{"[ip, user, username, timestamp, request, status_code, bytes > 1000]", access500, true},
		{"[ip, user, username, timestamp, request, status_code, bytes > 6000]", access500, false},
		{"[ip, user, username, timestamp, request, status_code = 200, bytes]", access500, false},
		{"[ip, user, username, timestamp, request, status_code = 4*, bytes]", access404, true},
		{"[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", access404, true},
		{"[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", access500, false},
		{"[ip, user, username, timestamp, request, status_code = 4* && bytes > 1000]", access404, false}, // one field less
		{"[ip, user, username, timestamp, request, status_code = 4* && status_code != 403, bytes]", access404, true},
		{"[..., request=*.html*, status_code=4*,]", access404, true},
		{`[ip=%127\.0\.0\.[1-9]%, user, username, timestamp, request =*.html*, status_code = 4*, bytes]`, access404, true},

		{`{ $.eventType = "UpdateTrail" }`, trail, true},
		{`{ $.sourceIPAddress != 123.123.* }`, trail, true},
		{`{ $.sourceIPAddress != 111.111.* }`, trail, false},
		{`{ $.arrayKey[0] = "value" }`, trail, true},
		{`{ $.arrayKey[1] = "value" }`, trail, false},
		{`{ $.objectList[1].id = 2 }`, trail, true},
		{`{ $.SomeObject IS NULL }`, trail, true},
		{`{ $.SomeOtherObject IS NULL }`, trail, false},
		{`{ $.SomeOtherObject NOT EXISTS }`, trail, true},
		{`{ $.SomeObject NOT EXISTS }`, trail, false},
		{`{ $.ThisFlag IS TRUE }`, trail, true},
		{`{ $.ThisFlag IS FALSE }`, trail, false},
		{`{ $.eventType = %Trail% }`, trail, true},
		{`{ $.eventType = *Trail }`, trail, true},
		{`{ $.eventType = Update* }`, trail, true},
		{`{ $.eventType = Up*Trail }`, trail, false}, // a * in the middle is a *
		{`{$.foo = bar}`, `{"foo": "bar"}`, true},
		{`{$.foo = bar || $.foo = baz }`, `{"foo": "baz"}`, true},
		{`{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }`, users, true},
		{`{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }`, users, false},
		{`{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = nonmatch && $.actions[2] = nomatch }`, users, true},
		{`{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = nonmatch) && $.actions[2] = nomatch }`, users, false},
		{`{$.users = 1}`, `{"users": [1, 2, 3]}`, false},
		{`{$.users != 1}`, `{"users": [1, 2, 3]}`, false},
		{"{ $.latency >= 500 }", `{"latency":500}`, true},
		{"{ $.numbers[0] < 10e3 }", `{"numbers":[9999.5]}`, true},
		{"{ $.numbers[0] < 10e-3 }", `{"numbers":[0.01]}`, false},
		{"{ $.processes[4].averageRuntime <= 55.5 }", `{"processes":[0,0,0,0,{"averageRuntime":55.5}]}`, true},
		{"{ $.errorCode = 400 }", `{"errorCode":4.0e2}`, true},
		{"{ $.errorCode != 500 }", `{"errorCode":400}`, true},
		{"{ $.latency > +1000 }", `{"latency":1000}`, false},
		{"{ $.latency = * }", `{"latency":12}`, true},
		{`{ $.latency = "*" }`, `{"latency":12}`, true},
		{"{ $.latency = * }", `{"other":12}`, false},
	} {
		check(t, tc.pattern, tc.message, tc.want)
	}
}

func check(t *testing.T, pattern, message string, want bool) {
	t.Helper()
	p, err := Parse(pattern)
	if err != nil {
		t.Errorf("%s: %v", pattern, err)
	} else if got := p.Match(message); got != want {
		t.Errorf("%s on %.200s: %v, want %v", pattern, message, got, want)
	}
}

// TestBeyondTheGuide holds what the guide does not say, and what hostile messages may not change.
func TestBeyondTheGuide(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 50_000)
	for _, tc := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"  ", "", true},
		{`"say \"hi\" \\ there"`, `they say "hi" \ there`, true},
		{"größe", "die größe", true},
		{`{ $.level = "ERROR" && $.n > 3 }`, `{"level":"ERROR","n":4}` + "\n", true},
		{`{ $.level = "ERROR" && $.n > 3 }`, `{"level":"ERROR","n":3}`, false},
		{`{ $.level = "ERROR" }`, `{"level":"\u0045RROR"}`, true}, // escaped without need
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"`, false},
		{`{ $.level = "ERROR" }`, `level ERROR`, false},
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"} trailing`, false},
		{`{ $.text = "a\"b" }`, `{"text":"a\"b"}`, true},
		{`{ $.a = 1 }`, `{"b":1}`, false},
		{`{ $.a != 1 }`, `{"b":1}`, false},
		{`{ $.a = 400 }`, `{"a":"400"}`, true},
		{`{ $.a = "400" }`, `{"a":400}`, false},
		{`{ $.a = 4* }`, `{"a":404}`, true},
		{`{ $.a < 2 }`, `{"a":"1"}`, false},
		{`{ $.a = true }`, `{"a":true}`, true},
		{`{ $.a exists }`, `{"a":null}`, true},
		{`{ $.sc-status = 5* }`, `{"sc-status":"503"}`, true},
		{`{ $.['detail.type'] = x }`, `{"detail.type":"x"}`, true},
		{`{ $.list[*].id = 2 }`, `{"list":[{"id":1},{"id":2}]}`, true},
		{`{ $.list[*].id = 3 }`, `{"list":[{"id":1},{"id":2}]}`, false},
		{`{ $[1].id = 2 }`, `[{"id":1},{"id":2}]`, true},
		{`{ $.list[5] NOT EXISTS }`, `{"list":[1]}`, true},
		{`{ $.a = x }`, deep, false},
		{`{ $.a NOT EXISTS }`, deep + "1" + strings.Repeat("}", 50_000), false},
		{"[a, b]", `"not closed here`, false},
		{"[a, b, c]", `"not closed here`, true},
		{"[..., x = 1, ..., y = 2]", "0 1 0 1 2", true},
		{"[..., x = 1, ..., y = 2]", "2 0 1", false},
		{"[...]", "", true},
		{"[a]", "", false},
		{"[a=\xff]", "\xff", false},
		{"a", "\xff\x00\x1b[31ma", true},
	} {
		if tc.pattern == "[a=\xff]" {
			if _, err := Parse(tc.pattern); err == nil {
				t.Error("a pattern that is no UTF-8 was taken")
			}
			continue
		}
		check(t, tc.pattern, tc.message, tc.want)
	}
}

// TestRefusals holds the texts that the service is known to answer, and that nothing else that is wrong is taken.
func TestRefusals(t *testing.T) {
	for pattern, want := range map[string]string{
		"?Status: timeout":             "Invalid character(s) in term ':'",
		"failed (":                     "Invalid character(s) in term '('",
		"`ERROR`":                      "Invalid character(s) in term '`'",
		`{ $."sc-status" = 5* }`:       `Invalid character(s) in term '$."'`,
		`"open`:                        "",
		"-":                            "",
		"? a":                          "",
		`""`:                           "",
		"{":                            "",
		"{}":                           "",
		"{ $.a }":                      "",
		"{ level = 1 }":                "",
		"{ $.a < x }":                  "",
		`{ $.a < "1" }`:                "",
		"{ $. = 1 }":                   "",
		"{ $ = 1 }":                    "",
		"{ $.a = }":                    "",
		"{ $.a = 1 ":                   "",
		"{ $.a = 1 } x":                "",
		"{ $.a = 1 && }":               "",
		"{ ($.a = 1 }":                 "",
		"{ $.a IS 1 }":                 "",
		"{ $.a[x] = 1 }":               "",
		"{ $.a[-1] = 1 }":              "",
		"[a, b":                        "",
		"[a b]":                        "",
		"[a] b":                        "",
		"[a = ]":                       "",
		"[a > x]":                      "",
		"%open":                        "",
		"%%":                           "",
		"%a(b)%":                       "Invalid character(s) in term '('",
		"%something!%":                 "Invalid character(s) in term '!'",
		"%[a%":                         "",
		"[a=%x%, b=%y%, c=%z%]":        "",
		strings.Repeat("a", 1025):      "",
		"{" + strings.Repeat("(", 101): "",
	} {
		p, err := Parse(pattern)
		switch {
		case err == nil:
			t.Errorf("%q was taken as %+v", pattern, p)
		case !errors.As(err, new(*Error)):
			t.Errorf("%q: error of the type %T", pattern, err)
		case want != "" && err.Error() != want:
			t.Errorf("%q: %q, want %q", pattern, err, want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`a -b ?c "d e" %f+%`, "a c")
	f.Add(`{ ($.a.b[0] >= 1 || $.c = "x*") && $.d NOT EXISTS }`, `{"a":{"b":[2]},"c":"xyz"}`)
	f.Add(`[a, ..., b = 4* && b != 404, c > 1e3]`, `x [y z] "q" 400 5000`)
	f.Fuzz(func(t *testing.T, pattern, message string) {
		p, err := Parse(pattern)
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Errorf("error of the type %T", err)
			}
			return
		}
		matched := p.Match(message)
		if strings.TrimSpace(pattern) == "" && !matched {
			t.Error("a pattern without terms refused a message")
		}
		// What a message needs spares the reading of JSON, and changes nothing.
		if o, ok := p.match.(*object); ok {
			if whole := (&object{expr: o.expr}); whole.matches(message) != matched {
				t.Errorf("%q on %q: %v with needs %q, %v without", pattern, message, matched, o.needs, !matched)
			}
		}
	})
}
