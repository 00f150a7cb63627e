package snapstart

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"thaw/admin"
	"thaw/function"
)

// Values that look as if they were drawn, or told the time.
var (
	drawn = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b|\b0\.[0-9]{12,}\b|\b[0-9]{12,}\b`)
	// base64 of 16 bytes and more, as tokens are; it must have both a digit and both cases, which words and paths have not.
	token    = regexp.MustCompile(`[A-Za-z0-9+_=-]{22,}`)
	temp     = regexp.MustCompile(`/(?:var/)?tmp/[^\s"'\\,;)\]}]+`)
	isoTime  = regexp.MustCompile(`\b20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?`)
	unixTime = regexp.MustCompile(`\b1[0-9]{9}(?:\.[0-9]+|[0-9]{3})?\b`)
	awsKey   = regexp.MustCompile(`\bA(?:KIA|SIA)[A-Z0-9]{16}\b`)
	broken   = regexp.MustCompile(`(?i)ECONNRESET|EPIPE|ETIMEDOUT|ENOTCONN|EBADF|socket hang up|connection reset|broken pipe|connection (?:was )?closed|connection refused|ECONNREFUSED|stale connection|server closed`)
	jwt      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.(eyJ[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*`)
)

// leaf is one value of an answer, and where it is.
type leaf struct{ path, text string }

// leaves takes an answer apart. One that is no JSON is one value.
func leaves(payload []byte) []leaf {
	var v any
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber() // digits as they were sent
	if d.Decode(&v) != nil {
		return []leaf{{"the answer", string(payload)}}
	}
	var out []leaf
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(path+"."+k, v[k])
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		case string:
			var inner any
			if s := strings.TrimSpace(v); strings.HasPrefix(s, "{") && json.Unmarshal([]byte(s), &inner) == nil { // the body of an HTTP answer
				walk(path, inner)
				return
			}
			out = append(out, leaf{path, v})
		case json.Number:
			out = append(out, leaf{path, v.String()})
		case float64:
			out = append(out, leaf{path, strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	walk("", v)
	for i := range out {
		if out[i].path == "" {
			out[i].path = "the answer"
		}
	}
	return out
}

// findings compares what two copies did. It tells places, never values: they may be secrets.
func findings(v *function.Version, snap admin.Snapshot, x, y examined, event []byte, now time.Time) []admin.Finding {
	var out []admin.Finding
	add := func(check, result, format string, args ...any) {
		out = append(out, admin.Finding{Check: check, Result: result, Text: fmt.Sprintf(format, args...)})
	}
	for i, c := range []examined{x, y} {
		if c.FunctionError != "" {
			add("answer", "fail", "copy %d answered the event with an error: %.200s", i+1, c.payload)
		}
	}
	if len(out) == 0 {
		add("answer", "ok", "both copies answered, %d and %d bytes, and wrote %d and %d log lines", len(x.payload), len(y.payload), len(x.lines), len(y.lines))
	}
	a, b := leaves(x.payload), leaves(y.payload)
	for i, l := range x.lines {
		a = append(a, leaf{fmt.Sprintf("log line %d", i+1), l})
	}
	for i, l := range y.lines {
		b = append(b, leaf{fmt.Sprintf("log line %d", i+1), l})
	}
	doctorUnique(add, v, a, b, event)
	doctorClock(add, snap, x, y, a, b)
	doctorCredentials(add, v, a, b, now)
	doctorTemp(add, a, b, event)
	doctorSockets(add, x, y)
	doctorAge(add, snap, now)
	return out
}

type report = func(check, result, format string, args ...any)

// places are where each match of a pattern was found first.
func places(all []leaf, find func(string) []string) map[string]string {
	out := map[string]string{}
	for _, l := range all {
		for _, m := range find(l.text) {
			if out[m] == "" {
				out[m] = l.path
			}
		}
	}
	return out
}

func looksUnique(s string) []string {
	var out []string
	for _, m := range drawn.FindAllString(s, -1) {
		if !unixTime.MatchString(m) || strings.Contains(m, "-") || len(m) > 13 {
			out = append(out, m)
		}
	}
	for _, m := range token.FindAllString(s, -1) {
		if strings.ContainsAny(m, "0123456789") && strings.ToLower(m) != m && strings.ToUpper(m) != m {
			out = append(out, m)
		}
	}
	return out
}

// doctorUnique looks for values that one would expect to differ. What the doctor itself gave, or the configuration, is passed over.
func doctorUnique(add report, v *function.Version, a, b []leaf, event []byte) {
	given := string(event) + " " + v.CodeSHA256 + " " + string(v.ARN())
	for _, val := range v.Vars {
		given += " " + val
	}
	mine, theirs := places(a, looksUnique), places(b, looksUnique)
	equal := map[string]bool{}
	for m, where := range mine {
		if _, both := theirs[m]; both && !strings.Contains(given, m) {
			equal[where] = true
		}
	}
	switch {
	case len(equal) > 0:
		add("random values", "warn", "equal in both copies though it looks drawn: %s. It was drawn during Init; draw it in the handler or in an after-restore hook, unless it is meant to be shared",
			strings.Join(slices.Sorted(maps.Keys(equal)), ", "))
	case len(mine) > 0 && len(theirs) > 0:
		add("random values", "ok", "%d values that look drawn differ between the copies", len(mine))
	default:
		add("random values", "unseen", "neither the answers nor the logs hold a value that looks drawn: answer with one to have it compared. Seeded generators (random.seed, math/rand, hash seeds) are never seen from outside")
	}
}

// clockSlack is how far a told time may be from the host's.
const clockSlack = 5 * time.Second

// times are the moments that a text tells.
func times(s string) []string {
	return append(isoTime.FindAllString(s, -1), unixTime.FindAllString(isoTime.ReplaceAllString(s, ""), -1)...)
}

func parseMoment(s string) (time.Time, bool) {
	s = strings.Replace(s, " ", "T", 1)
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999-0700"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, false
	}
	if f > 1e12 {
		f /= 1000
	}
	return time.UnixMilli(int64(f * 1000)), true
}

// doctorClock sorts the times that the copies tell into now, the time of Init, and others.
func doctorClock(add report, snap admin.Snapshot, x, y examined, a, b []leaf) {
	if x.at.Sub(snap.Created) < 2*clockSlack {
		add("clock", "unseen", "the snapshot is younger than %v: a clock that stands still cannot be told from one that runs. Ask again later", 2*clockSlack)
		return
	}
	var now, frozen []string
	for _, all := range [][]leaf{a, b} {
		for m, where := range places(all, times) {
			t, ok := parseMoment(m)
			switch {
			case !ok:
			case t.After(snap.Born.Add(-time.Second)) && t.Before(snap.Created.Add(time.Second)):
				frozen = append(frozen, where)
			case t.After(x.at.Add(-clockSlack-apart(x, y))) && t.Before(y.at.Add(clockSlack)) || t.After(y.at.Add(-clockSlack-apart(x, y))) && t.Before(x.at.Add(clockSlack)):
				now = append(now, where)
			}
		}
	}
	slices.Sort(frozen)
	frozen = slices.Compact(frozen)
	switch {
	case len(frozen) > 0:
		add("clock", "warn", "the time of Init, %s ago, is told in: %s. That is right only for \"cached since\"; the clock itself %s", x.at.Sub(snap.Born).Round(time.Second),
			strings.Join(frozen, ", "), map[bool]string{true: "runs, as other times show", false: "could not be seen"}[len(now) > 0])
	case len(now) > 0:
		add("clock", "ok", "%d times in answers and logs are within %v of the host's", len(now), clockSlack)
	default:
		add("clock", "unseen", "neither the answers nor the logs tell a time near now or near Init: answer with one to have it compared")
	}
}

// apart is how far apart the answers were.
func apart(x, y examined) time.Duration { return y.at.Sub(x.at).Abs() }

// doctorCredentials looks at the variables of the configuration, which are the same in every copy, and at keys that an answer shows.
func doctorCredentials(add report, v *function.Version, a, b []leaf, now time.Time) {
	found := false
	for _, name := range slices.Sorted(maps.Keys(v.Vars)) {
		m := jwt.FindStringSubmatch(v.Vars[name])
		if m == nil {
			continue
		}
		var claims struct{ Exp float64 }
		if raw, err := base64.RawURLEncoding.DecodeString(m[1]); err == nil && json.Unmarshal(raw, &claims) == nil && claims.Exp > 0 {
			found = true
			if end := time.Unix(int64(claims.Exp), 0); end.Before(now) {
				add("credentials", "fail", "the token in the variable %s has expired, %s ago", name, now.Sub(end).Round(time.Second))
			} else {
				add("credentials", "warn", "the token in the variable %s is in every copy and expires in %s; the snapshot does not know", name, end.Sub(now).Round(time.Second))
			}
		}
	}
	keys := func(s string) []string { return awsKey.FindAllString(s, -1) }
	mine, theirs := places(a, keys), places(b, keys)
	for k, where := range mine {
		if theirs[k] != "" {
			found = true
			add("credentials", "warn", "the same AWS key is in both copies, shown in %s: it was read during Init and stays when it has expired", where)
		}
	}
	if !found {
		add("credentials", "ok", "no token with an end in the variables, no AWS key that both copies show; each copy gets keys of its own from the credentials endpoint. What a client keeps in memory is not seen")
	}
}

// doctorTemp compares names of temporary files.
func doctorTemp(add report, a, b []leaf, event []byte) {
	names := func(s string) []string { return temp.FindAllString(s, -1) }
	mine, theirs := places(a, names), places(b, names)
	equal := map[string]bool{}
	for n, where := range mine {
		if theirs[n] != "" && !strings.Contains(string(event), n) {
			equal[where] = true
		}
	}
	switch {
	case len(equal) > 0:
		add("temporary files", "warn", "both copies tell the same name, in %s. Each has a /tmp of its own, so they do not meet there; they do when the name goes elsewhere (a bucket, a queue)",
			strings.Join(slices.Sorted(maps.Keys(equal)), ", "))
	case len(mine)+len(theirs) > 0:
		add("temporary files", "ok", "the names that the copies tell differ")
	default:
		add("temporary files", "unseen", "no name below /tmp in answers and logs; /tmp itself is not looked into")
	}
}

// doctorSockets reads the logs for broken connections.
func doctorSockets(add report, x, y examined) {
	n := 0
	for _, l := range slices.Concat(x.lines, y.lines, []string{string(x.payload), string(y.payload)}) {
		if broken.MatchString(l) {
			n++
		}
	}
	if n > 0 {
		add("connections", "warn", "%d lines of answers and logs tell of a broken connection: one that was open at the snapshot is dead in every copy. Close it in a before-checkpoint hook, open it in the handler", n)
		return
	}
	add("connections", "unseen", "answers and logs tell of no broken connection. Sockets that were open at the snapshot cannot be listed from outside: one that this event does not use stays unseen")
}

// doctorAge holds a generation against its policy.
func doctorAge(add report, snap admin.Snapshot, now time.Time) {
	age := now.Sub(snap.Born).Round(time.Second)
	switch {
	case snap.Failures > 0:
		add("age", "warn", "generation %d is %s old, and the last %d attempts at the next one failed: %s", snap.Generation, age, snap.Failures, snap.LastError)
	case !snap.Expires.IsZero() && !now.Before(snap.Expires):
		add("age", "fail", "generation %d is %s old and past its end: invokes run Init", snap.Generation, age)
	case snap.Expires.IsZero():
		add("age", "warn", "generation %d is %s old and never ends: what Init cached gets as old as the version. Set a policy (thaw snapshot policy) or state an expiry in a hook, unless nothing is cached", snap.Generation, age)
	case snap.Policy.Interval > 0 && now.Sub(snap.Born) > snap.Policy.Interval+snap.Policy.Interval/2:
		add("age", "warn", "generation %d is %s old though a new one is due every %v", snap.Generation, age, snap.Policy.Interval)
	default:
		add("age", "ok", "generation %d is %s old and ends in %s", snap.Generation, age, snap.Expires.Sub(now).Round(time.Second))
	}
}
