package snapshot

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tags of a function that set its Policy. Values keep to what AWS accepts: at most 256 of letters, digits, space and + - = . _ : / @
// Source: AWS Lambda Developer Guide, "Using tags on Lambda functions", tag requirements. We accept JSON too, which AWS would refuse.
const (
	// TagRefresh is "10m", or "10m max=1h".
	TagRefresh = "thaw:snapshot-refresh"
	// TagPrime is "warm:20 login@events/login.json:3": named events, each with a count; @ names a file of the function's code.
	TagPrime = "thaw:snapshot-prime"
	// TagEvent and a name is that event: JSON, or base64 of it.
	TagEvent = "thaw:snapshot-event:"
)

// Limits of a Policy.
const (
	MinInterval   = 5 * time.Second
	MaxInterval   = 365 * 24 * time.Hour
	MaxPrimings   = 1000 // of all events together
	MaxEventBytes = 256 << 10
	maxPrimes     = 10
)

// Policy says how long a version's snapshots are good and what is invoked before they are taken. The zero value: as long as the version is, unless
// the function states an end from its before-checkpoint hook; and nothing.
type Policy struct {
	// Interval: a new generation is current before the present one is this old. 0: as MaxAge demands.
	Interval time.Duration
	// MaxAge: no invoke starts on a generation that is this old, also when refreshing fails. 0: Interval.
	MaxAge time.Duration
	Prime  []Prime
}

// Prime is one event that is invoked before the snapshot is taken.
type Prime struct {
	Name  string          `json:"name"`
	Count int             `json:"count"`
	Event json.RawMessage `json:"event,omitempty"` // exactly one of Event and File,
	File  string          `json:"file,omitempty"`  // which is a path below the function's code
}

// PolicyError says what is wrong with a policy.
type PolicyError struct {
	Where string // the tag, or the member of the JSON
	Err   error
}

func (e *PolicyError) Error() string { return fmt.Sprintf("snapshot policy: %s: %v", e.Where, e.Err) }
func (e *PolicyError) Unwrap() error { return e.Err }

// Refreshes says whether the policy by itself makes generations end.
func (p Policy) Refreshes() bool { return p.Interval > 0 || p.MaxAge > 0 }

// Expiry is when a generation must no more be used whose Init began at born and whose hook stated an end (zero: none). Zero: never.
func (p Policy) Expiry(born, stated time.Time) time.Time {
	end := stated
	if age := p.maxAge(); age > 0 {
		if t := born.Add(age); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end
}

func (p Policy) maxAge() time.Duration {
	if p.MaxAge > 0 {
		return p.MaxAge
	}
	return p.Interval
}

// Primings is how many invokes priming takes.
func (p Policy) Primings() int {
	n := 0
	for _, e := range p.Prime {
		n += e.Count
	}
	return n
}

// Validate says what of a policy cannot be. The error is *PolicyError.
func (p Policy) Validate() error {
	if err := validDuration(p.Interval); err != nil {
		return &PolicyError{"interval", err}
	}
	if err := validDuration(p.MaxAge); err != nil {
		return &PolicyError{"maxAge", err}
	}
	if p.MaxAge > 0 && p.MaxAge < p.Interval {
		return &PolicyError{"maxAge", errors.New("is shorter than the interval")}
	}
	if len(p.Prime) > maxPrimes {
		return &PolicyError{"prime", fmt.Errorf("more than %d events", maxPrimes)}
	}
	names := map[string]bool{}
	for _, e := range p.Prime {
		if err := e.validate(); err != nil {
			return &PolicyError{"prime", err}
		}
		if names[e.Name] {
			return &PolicyError{"prime", fmt.Errorf("event %s is there twice", e.Name)}
		}
		names[e.Name] = true
	}
	if n := p.Primings(); n > MaxPrimings {
		return &PolicyError{"prime", fmt.Errorf("%d invokes are more than %d", n, MaxPrimings)}
	}
	return nil
}

func validDuration(d time.Duration) error {
	if d != 0 && (d < MinInterval || d > MaxInterval) {
		return fmt.Errorf("%v is not between %v and %v", d, MinInterval, MaxInterval)
	}
	return nil
}

func (e Prime) validate() error {
	if !validEventName(e.Name) {
		return fmt.Errorf("malformed name %q: at most 64 letters, digits, hyphens and underscores", e.Name)
	}
	if e.Count < 1 || e.Count > MaxPrimings {
		return fmt.Errorf("event %s: count %d is not between 1 and %d", e.Name, e.Count, MaxPrimings)
	}
	switch {
	case e.File != "" && len(e.Event) > 0:
		return fmt.Errorf("event %s has both a file and an event", e.Name)
	case e.File != "":
		if !validCodePath(e.File) {
			return fmt.Errorf("event %s: malformed path %q: relative to the function's code, without its parents", e.Name, e.File)
		}
	case len(e.Event) == 0:
		return fmt.Errorf("event %s is not given: name a file (%s@FILE) or set the tag %s%s", e.Name, e.Name, TagEvent, e.Name)
	case len(e.Event) > MaxEventBytes:
		return fmt.Errorf("event %s is larger than %d bytes", e.Name, MaxEventBytes)
	case !json.Valid(e.Event):
		return fmt.Errorf("event %s is not JSON", e.Name)
	}
	return nil
}

func validEventName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func validCodePath(s string) bool {
	if s == "" || len(s) > 200 || strings.ContainsAny(s, "\x00\\ :") {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// ParseTags reads a function's tags; those that are not ours are passed over. The error is *PolicyError.
func ParseTags(tags map[string]string) (Policy, error) {
	var p Policy
	var err error
	if v, ok := tags[TagRefresh]; ok {
		if p.Interval, p.MaxAge, err = parseRefresh(v); err != nil {
			return Policy{}, &PolicyError{TagRefresh, err}
		}
	}
	if v, ok := tags[TagPrime]; ok {
		if p.Prime, err = parsePrime(v); err != nil {
			return Policy{}, &PolicyError{TagPrime, err}
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		name, ok := strings.CutPrefix(tag, TagEvent)
		if !ok {
			continue
		}
		event, err := parseEvent(tags[tag])
		if err != nil {
			return Policy{}, &PolicyError{tag, err}
		}
		for i := range p.Prime { // one that nothing names is left from before, and does no harm
			if e := &p.Prime[i]; e.Name == name && e.File == "" && len(e.Event) == 0 {
				e.Event = event
			}
		}
	}
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func parseRefresh(v string) (interval, maxAge time.Duration, err error) {
	words := strings.Fields(v)
	if len(words) == 1 && words[0] == "off" {
		return 0, 0, nil
	}
	for i, w := range words {
		text, isMax := strings.CutPrefix(w, "max=")
		if isMax != (i == 1) || i > 1 {
			return 0, 0, fmt.Errorf(`%q is not of the form "10m", "10m max=1h" or "off"`, v)
		}
		d, err := parseDuration(text)
		if err != nil {
			return 0, 0, err
		}
		if isMax {
			maxAge = d
		} else {
			interval = d
		}
	}
	if len(words) == 0 {
		return 0, 0, errors.New("is empty")
	}
	return interval, maxAge, nil
}

// parseDuration knows days, which people write for caches.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 10m, 6h or 1d", s)
	}
	return d, nil
}

func parsePrime(v string) ([]Prime, error) {
	if t := strings.TrimSpace(v); strings.HasPrefix(t, "[") {
		var list []Prime
		return list, decodeStrict([]byte(t), &list)
	}
	var list []Prime
	for w := range strings.FieldsSeq(v) {
		e := Prime{Name: w, Count: 1}
		if name, count, ok := strings.Cut(w, ":"); ok {
			n, err := strconv.ParseUint(count, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("%q: the count is not a number", w)
			}
			e.Name, e.Count = name, int(n)
		}
		if name, file, ok := strings.Cut(e.Name, "@"); ok {
			e.Name, e.File = name, file
			if file == "" {
				return nil, fmt.Errorf("%q names no file", w)
			}
		}
		list = append(list, e)
	}
	return list, nil
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the JSON")
	}
	return nil
}

// parseEvent: numbers and the words of JSON are base64 too, so JSON goes first.
func parseEvent(v string) (json.RawMessage, error) {
	if json.Valid([]byte(v)) {
		return json.RawMessage(v), nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(v, "="))
	b, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil || !json.Valid(b) {
		return nil, errors.New("is neither JSON nor base64 of it")
	}
	return b, nil
}

// Tags are the tags that ParseTags makes the policy of. An event may make a tag longer than AWS allows.
func (p Policy) Tags() map[string]string {
	tags := map[string]string{}
	if p.Refreshes() {
		v := p.Interval
		if v == 0 {
			v = p.MaxAge
		}
		tags[TagRefresh] = v.String()
		if p.MaxAge > 0 && p.Interval > 0 {
			tags[TagRefresh] += " max=" + p.MaxAge.String()
		}
	}
	var words []string
	for _, e := range p.Prime {
		w := e.Name
		if e.File != "" {
			w += "@" + e.File
		} else {
			tags[TagEvent+e.Name] = base64.RawURLEncoding.EncodeToString(e.Event)
		}
		words = append(words, w+":"+strconv.Itoa(e.Count))
	}
	if len(words) > 0 {
		tags[TagPrime] = strings.Join(words, " ")
	}
	return tags
}

// policyJSON is a Policy in our own API: durations as people write them.
type policyJSON struct {
	Interval string  `json:"interval,omitempty"`
	MaxAge   string  `json:"maxAge,omitempty"`
	Prime    []Prime `json:"prime,omitempty"`
}

// MarshalJSON is {"interval":"10m0s","maxAge":"1h0m0s","prime":[{"name":"warm","count":20,"event":{}}]}.
func (p Policy) MarshalJSON() ([]byte, error) {
	j := policyJSON{Prime: p.Prime}
	if p.Interval > 0 {
		j.Interval = p.Interval.String()
	}
	if p.MaxAge > 0 {
		j.MaxAge = p.MaxAge.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON refuses unknown members. It does not validate.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var j policyJSON
	if err := decodeStrict(b, &j); err != nil {
		return &PolicyError{"JSON", err}
	}
	q := Policy{Prime: j.Prime}
	var err error
	if j.Interval != "" {
		if q.Interval, err = parseDuration(j.Interval); err != nil {
			return &PolicyError{"interval", err}
		}
	}
	if j.MaxAge != "" {
		if q.MaxAge, err = parseDuration(j.MaxAge); err != nil {
			return &PolicyError{"maxAge", err}
		}
	}
	*p = q
	return nil
}
