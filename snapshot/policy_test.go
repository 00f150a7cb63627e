package snapshot_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"thaw/snapshot"
)

func TestTags(t *testing.T) {
	event := func(name string, count int, event string) snapshot.Prime {
		return snapshot.Prime{Name: name, Count: count, Event: json.RawMessage(event)}
	}
	for _, c := range []struct {
		name string
		tags map[string]string
		want snapshot.Policy
		err  string // part of the error; empty: none
	}{
		{"no tags of ours", map[string]string{"team": "a", "thaw:other": "x"}, snapshot.Policy{}, ""},
		{"an interval", map[string]string{snapshot.TagRefresh: "10m"}, snapshot.Policy{Interval: 10 * time.Minute}, ""},
		{"an interval and a longest age", map[string]string{snapshot.TagRefresh: " 90s  max=1d "}, snapshot.Policy{Interval: 90 * time.Second, MaxAge: 24 * time.Hour}, ""},
		{"off", map[string]string{snapshot.TagRefresh: "off"}, snapshot.Policy{}, ""},
		{"an empty interval", map[string]string{snapshot.TagRefresh: " "}, snapshot.Policy{}, "is empty"},
		{"a bare number", map[string]string{snapshot.TagRefresh: "10"}, snapshot.Policy{}, "is not a duration"},
		{"a negative interval", map[string]string{snapshot.TagRefresh: "-10m"}, snapshot.Policy{}, "is not a duration"},
		{"too short an interval", map[string]string{snapshot.TagRefresh: "1s"}, snapshot.Policy{}, "is not between"},
		{"too long an interval", map[string]string{snapshot.TagRefresh: "40000d"}, snapshot.Policy{}, "is not between"},
		{"an overflow", map[string]string{snapshot.TagRefresh: "9999999999h"}, snapshot.Policy{}, "is not a duration"},
		{"a longest age below the interval", map[string]string{snapshot.TagRefresh: "10m max=1m"}, snapshot.Policy{}, "shorter than the interval"},
		{"the longest age first", map[string]string{snapshot.TagRefresh: "max=1m 10m"}, snapshot.Policy{}, "is not of the form"},
		{"one event by tag in JSON", map[string]string{snapshot.TagPrime: "warm:20", snapshot.TagEvent + "warm": `{"a":1}`},
			snapshot.Policy{Prime: []snapshot.Prime{event("warm", 20, `{"a":1}`)}}, ""},
		{"an event in base64, as AWS allows in a tag", map[string]string{snapshot.TagPrime: "warm", snapshot.TagEvent + "warm": "eyJhIjoxfQ=="},
			snapshot.Policy{Prime: []snapshot.Prime{event("warm", 1, `{"a":1}`)}}, ""},
		{"several events, one in a file", map[string]string{snapshot.TagPrime: "a:2 b@events/b.json:3", snapshot.TagEvent + "a": "1", snapshot.TagEvent + "left": "2"},
			snapshot.Policy{Prime: []snapshot.Prime{event("a", 2, "1"), {Name: "b", Count: 3, File: "events/b.json"}}}, ""},
		{"JSON as a whole", map[string]string{snapshot.TagPrime: `[{"name":"x","count":2,"event":{}}]`}, snapshot.Policy{Prime: []snapshot.Prime{event("x", 2, "{}")}}, ""},
		{"an event that nobody gives", map[string]string{snapshot.TagPrime: "warm:2"}, snapshot.Policy{}, "thaw:snapshot-event:warm"},
		{"an event that is neither", map[string]string{snapshot.TagPrime: "warm", snapshot.TagEvent + "warm": "%%"}, snapshot.Policy{}, "neither JSON nor base64"},
		{"one event twice", map[string]string{snapshot.TagPrime: "a@x a@y"}, snapshot.Policy{}, "twice"},
		{"a count of none", map[string]string{snapshot.TagPrime: "a@x:0"}, snapshot.Policy{}, "not between 1"},
		{"a count in words", map[string]string{snapshot.TagPrime: "a@x:many"}, snapshot.Policy{}, "not a number"},
		{"too many in all", map[string]string{snapshot.TagPrime: "a@x:600 b@x:600"}, snapshot.Policy{}, "1200 invokes"},
		{"too many events", map[string]string{snapshot.TagPrime: "a@x b@x c@x d@x e@x f@x g@x h@x i@x j@x k@x"}, snapshot.Policy{}, "more than 10"},
		{"a file outside of the code", map[string]string{snapshot.TagPrime: "a@../../etc/passwd"}, snapshot.Policy{}, "without its parents"},
		{"an absolute file", map[string]string{snapshot.TagPrime: "a@/etc/passwd"}, snapshot.Policy{}, "relative"},
		{"no file behind the sign", map[string]string{snapshot.TagPrime: "a@"}, snapshot.Policy{}, "no file"},
		{"a malformed name", map[string]string{snapshot.TagPrime: "a/b@x"}, snapshot.Policy{}, "malformed name"},
		{"unknown members", map[string]string{snapshot.TagPrime: `[{"name":"x","times":2}]`}, snapshot.Policy{}, "unknown field"},
		{"a file and an event", map[string]string{snapshot.TagPrime: `[{"name":"x","count":2,"event":{},"file":"y"}]`}, snapshot.Policy{}, "both"},
	} {
		got, err := snapshot.ParseTags(c.tags)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, new(*snapshot.PolicyError)) {
				t.Errorf("%s: error %v does not say %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	stated := testTime.Add(3 * time.Minute)
	for _, c := range []struct {
		name   string
		p      snapshot.Policy
		stated time.Time
		want   time.Duration // 0: never
	}{
		{"nothing said: never", snapshot.Policy{}, time.Time{}, 0},
		{"the hook alone", snapshot.Policy{}, stated, 3 * time.Minute},
		{"the policy alone", snapshot.Policy{Interval: time.Minute}, time.Time{}, time.Minute},
		{"the longest age, not the interval", snapshot.Policy{Interval: time.Minute, MaxAge: time.Hour}, time.Time{}, time.Hour},
		{"the earlier of both: the hook's", snapshot.Policy{MaxAge: time.Hour}, stated, 3 * time.Minute},
		{"the earlier of both: the policy's", snapshot.Policy{MaxAge: time.Minute}, stated, time.Minute},
	} {
		got := c.p.Expiry(testTime, c.stated)
		if c.want == 0 != got.IsZero() || c.want != 0 && got.Sub(testTime) != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestPolicyJSON(t *testing.T) {
	const text = `{"interval":"10m0s","maxAge":"1h0m0s","prime":[{"name":"warm","count":20,"event":{"a":1}}]}`
	var p snapshot.Policy
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Validate() != nil {
		t.Fatal(err, p.Validate())
	}
	if b, err := json.Marshal(p); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{`{"interval":10}`, `{"interval":"x"}`, `{"every":"10m"}`, `{"prime":[{"nam":"x"}]}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if p.Primings() != 20 {
		t.Error("a refused policy changed the one that was there")
	}
}

// awsTag are the characters that AWS accepts in a tag, of those that we make.
const awsTag = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +-=._:/@"

func FuzzTags(f *testing.F) {
	f.Add("10m", "warm:20 b@x/y.json", `{"a":1}`)
	f.Add("10m max=1h", `[{"name":"warm","count":1,"event":null}]`, "eyJhIjoxfQ")
	f.Add("off", "", "")
	f.Add("1d", "warm", "e30")
	f.Fuzz(func(t *testing.T, refresh, prime, event string) {
		p, err := snapshot.ParseTags(map[string]string{snapshot.TagRefresh: refresh, snapshot.TagPrime: prime, snapshot.TagEvent + "warm": event})
		if err != nil {
			if !errors.As(err, new(*snapshot.PolicyError)) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if p.Primings() > snapshot.MaxPrimings || p.Validate() != nil {
			t.Fatalf("%+v was taken", p)
		}
		tags := p.Tags()
		again, err := snapshot.ParseTags(tags)
		if err != nil {
			t.Fatalf("%v of %v: %v", tags, p, err)
		}
		a, _ := json.Marshal(p)
		if b, _ := json.Marshal(again); string(a) != string(b) {
			t.Fatalf("%s became %s", a, b)
		}
		for k, v := range tags {
			if strings.Trim(k+v, awsTag) != "" && !strings.ContainsFunc(prime, func(r rune) bool { return !strings.ContainsRune(awsTag, r) }) {
				t.Fatalf("tag %s=%s is not one of AWS's", k, v)
			}
		}
		var back snapshot.Policy
		if err := json.Unmarshal(a, &back); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	s := openStore(f, folder(f, f.TempDir()), func(o *snapshot.Options) { o.PackPages = 4 })
	m := put(f, s, meta(1, 1), map[string][]byte{"pages.img": make([]byte, 9000), "state": []byte(strings.Repeat("state", 9999))})
	b, err := m.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"00000000000000000000000000000000","packs":[{"id":"11111111111111111111111111111111","pages":3},{"id":"22222222222222222222222222222222","pages":3,"base":"AQAD"}]}`))
	f.Add([]byte(`{"id":"00000000000000000000000000000000","packs":[{"id":"22222222222222222222222222222222","pages":3,"base":"AQAD"}]}`))
	f.Add([]byte(`{"id":"00000000000000000000000000000000","files":[{"name":"x","size":4097,"runs":"AAI="}]}`))
	f.Add([]byte(`{"id":"00000000000000000000000000000000","files":[{"name":"x","size":9000,"runs":"AQAD"}],"packs":[{"id":"11111111111111111111111111111111","pages":3}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := snapshot.ParseManifest(b)
		if err != nil {
			return
		}
		again, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		m2, err := snapshot.ParseManifest(again)
		if err != nil {
			t.Fatalf("%s was written and is refused: %v", again, err)
		}
		if m2.Size() != m.Size() || len(m2.Packs) != len(m.Packs) {
			t.Fatalf("%s became %s", b, again)
		}
	})
}
