package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/async"
	"thaw/notify"
	"thaw/push"
	"thaw/push/pushtest"
	"thaw/trigger"
)

// functions take events; refusal, when it is set, refuses them.
type functions struct {
	mu      sync.Mutex
	events  []string
	traces  []string // of the events
	refusal error
	slow    time.Duration // how long an event is on its way
}

func (f *functions) May(*push.Delivery) error { return nil }

func (f *functions) Accept(_ context.Context, d *push.Delivery) (string, error) {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusal != nil {
		return "", f.refusal
	}
	var e struct {
		Records []struct {
			EventName, AWSRegion string
			S3                   struct {
				Bucket struct{ Name string }
				Object struct {
					Key  string
					Size int
				}
			}
		}
	}
	if err := json.Unmarshal(d.Payload, &e); err != nil {
		return "", err
	}
	f.traces = append(f.traces, d.TraceID)
	for _, r := range e.Records {
		f.events = append(f.events, fmt.Sprintf("%s %s/%s %d for %s", r.EventName, r.S3.Bucket.Name, r.S3.Object.Key, r.S3.Object.Size, d.Source))
	}
	return "id", nil
}

func (f *functions) refuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusal = err
}

// ends are the traces of the first and of the last event.
func (f *functions) ends() (first, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.traces[0], f.traces[len(f.traces)-1]
}

func (f *functions) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.events
	f.events = nil
	return all
}

const worker = "arn:aws:lambda:eu-west-1:123456789012:function:worker"

func open(t *testing.T, records *pushtest.Documents, dir string) (*notify.Service, *functions) {
	t.Helper()
	f := &functions{}
	s, err := notify.Open(t.Context(), notify.Options{Records: records, Functions: f, Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, f
}

func put(key, sequencer string) string {
	return `{"EventName":"s3:ObjectCreated:Put","Key":"x","Records":[{"eventName":"s3:ObjectCreated:Put","eventSource":"minio:s3","s3":{"bucket":{"name":"images"},"object":{"key":"` + key + `","size":3,"sequencer":"` + sequencer + `"}}}]}`
}

// A webhook takes what has its token, wherever a server of objects puts that; tells the function what the filter wants,
// once for each sequencer; and answers 200 only when the event is accepted.
func TestWebhook(t *testing.T) {
	s, f := open(t, &pushtest.Documents{}, t.TempDir())
	_, token, err := s.Add(t.Context(), notify.Webhook, "images", worker, notify.Settings{Filter: trigger.S3Filter{Events: []string{"s3:ObjectCreated:*"}, Suffix: ".jpg"}})
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	for _, c := range []struct {
		name, method, path string
		auth               func(*http.Request)
		body               string
		status             int
		events             int
	}{
		{"MinIO asks whether somebody is there", "HEAD", "/notify/images", nil, "", 200, 0},
		{"no token", "POST", "/notify/images", nil, put("a.jpg", "1"), 401, 0},
		{"another token", "POST", "/notify/images", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, put("a.jpg", "1"), 401, 0},
		{"another name", "POST", "/notify/image", bearer, put("a.jpg", "1"), 401, 0},
		{"a bearer", "POST", "/notify/images", bearer, put("a.jpg", "1"), 200, 1},
		{"the same again", "POST", "/notify/images", bearer, put("a.jpg", "1"), 200, 0},
		{"the next of the same key", "POST", "/notify/images", bearer, put("a.jpg", "2"), 200, 1},
		{"the token alone", "POST", "/notify/images", func(r *http.Request) { r.Header.Set("Authorization", token) }, put("b.jpg", "1"), 200, 1},
		{"the token as a password", "POST", "/notify/images", func(r *http.Request) { r.SetBasicAuth("thaw", token) }, put("c.jpg", "1"), 200, 1},
		{"the token in the path", "POST", "/notify/images/" + token, nil, put("d.jpg", "1"), 200, 1},
		{"no sequencer: nobody can tell whether it came before", "POST", "/notify/images", bearer, put("e.jpg", ""), 200, 1},
		{"a key that the filter does not want", "POST", "/notify/images", bearer, put("a.png", "1"), 200, 0},
		{"a test event", "POST", "/notify/images", bearer, `{"Service":"Amazon S3","Event":"s3:TestEvent"}`, 200, 0},
		{"nothing", "POST", "/notify/images", bearer, "", 200, 0},
		{"something else", "POST", "/notify/images", bearer, `{"a":1}`, 400, 0},
		{"too large", "POST", "/notify/images", bearer, strings.Repeat(" ", 1<<20+1), 413, 0},
		{"another method", "DELETE", "/notify/images", bearer, "", 405, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			if c.auth != nil {
				c.auth(r)
			}
			if !s.Serves(r) {
				t.Fatal("not served")
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := f.take(); w.Code != c.status || len(got) != c.events {
				t.Errorf("%d %s, %q", w.Code, w.Body, got)
			}
		})
	}
	f.slow = 50 * time.Millisecond
	var together sync.WaitGroup
	for range 8 { // of the same moment, and each of its own
		together.Go(func() {
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/notify/images/"+token, strings.NewReader(put("e.jpg", ""))))
		})
	}
	together.Wait()
	f.slow = 0
	if got := f.take(); len(got) != 8 {
		t.Errorf("of eight notifications without a sequencer %d came", len(got))
	}
	for err, status := range map[error]int{async.ErrFull: 503, &push.NotAllowedError{Function: worker, Service: "s3.amazonaws.com"}: 403, errors.New("other"): 500} {
		f.refuse(err)
		r := httptest.NewRequest("POST", "/notify/images/"+token, strings.NewReader(put("z.jpg", "1")))
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != status {
			t.Errorf("%v: %d", err, w.Code)
		}
	}
	f.refuse(nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/notify/images/"+token, strings.NewReader(put("z.jpg", "1"))))
	if got := f.take(); w.Code != 200 || len(got) != 1 {
		t.Errorf("what was refused comes again: %d, %q", w.Code, got)
	}
	if _, _, err := s.Add(t.Context(), notify.Webhook, "images", worker, notify.Settings{}); !errors.Is(err, notify.ErrExists) {
		t.Errorf("a second one of the name: %v", err)
	}
	if err := s.Remove(t.Context(), notify.Folder, "images"); !errors.Is(err, push.ErrNone) {
		t.Errorf("another kind: %v", err)
	}
	if err := s.Remove(t.Context(), notify.Webhook, "images"); err != nil || len(s.List()) != 0 {
		t.Errorf("%v, %+v", err, s.List())
	}
}

// hears waits until the function was told exactly want, in any order.
func hears(t *testing.T, f *functions, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got = append(got, f.take()...)
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		if len(got) > len(want) || time.Now().After(deadline) {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // of a test
		t.Fatal(err)
	}
}

// A folder's function hears of each file when it is complete, and of each that is gone, in folders below too, over
// restarts, and while the function cannot be told; not of what begins with a dot, nor of what lay there before.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir, state, records := filepath.Join(t.TempDir(), "in"), t.TempDir(), &pushtest.Documents{}
	write(t, filepath.Join(dir, "old"), "x")
	s, f := open(t, records, state)
	created, removed := "ObjectCreated:Put in-box/%s %d for arn:aws:s3:::in-box", "ObjectRemoved:Delete in-box/%s 0 for arn:aws:s3:::in-box"
	if made, _, err := s.Add(t.Context(), notify.Folder, "", worker, notify.Settings{Dir: dir}); err != nil || made.Bucket != "folder-in" { // in is too short for a bucket
		t.Fatal(made, err)
	}
	if err := s.Remove(t.Context(), notify.Folder, "folder-in"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Add(t.Context(), notify.Folder, "inbox", worker, notify.Settings{Dir: dir, Bucket: "in-box"}); err != nil {
		t.Fatal(err)
	}
	ready := func() { // the watch is there when a file of it is told
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(state, "inbox.told")); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the folder is not watched")
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	ready()

	write(t, filepath.Join(dir, "a b.txt"), "abc")
	hears(t, f, fmt.Sprintf(created, "a+b.txt", 3))
	write(t, filepath.Join(dir, ".part"), "half")
	if err := os.Rename(filepath.Join(dir, ".part"), filepath.Join(dir, "whole")); err != nil {
		t.Fatal(err)
	}
	hears(t, f, fmt.Sprintf(created, "whole", 4))
	write(t, filepath.Join(dir, "deep", "er", "c"), "12345") // written before anybody watches the folder
	hears(t, f, fmt.Sprintf(created, "deep/er/c", 5))
	slow, err := os.Create(filepath.Join(dir, "slow"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fmt.Fprint(slow, "part")
		time.Sleep(50 * time.Millisecond)
	}
	if got := f.take(); len(got) > 0 {
		t.Errorf("told while it is written: %q", got)
	}
	slow.Close()
	hears(t, f, fmt.Sprintf(created, "slow", 12))
	if err := os.Link(filepath.Join(dir, "slow"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	hears(t, f, fmt.Sprintf(created, "link", 12))
	os.Remove(filepath.Join(dir, "old"))
	os.Rename(filepath.Join(dir, "deep"), filepath.Join(t.TempDir(), "away"))
	hears(t, f, fmt.Sprintf(removed, "old"), fmt.Sprintf(removed, "deep/er/c"))

	s.Wrote("in-box", "own", "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=1:abc:0")
	write(t, filepath.Join(dir, "own"), "o") // by a function, whose trace goes on
	hears(t, f, fmt.Sprintf(created, "own", 1))
	if first, last := f.ends(); !strings.HasPrefix(last, "Root=1-5759e988") || first != "" {
		t.Errorf("traces %q ... %q", first, last)
	}
	os.Remove(filepath.Join(dir, "own"))
	hears(t, f, fmt.Sprintf(removed, "own"))

	f.refuse(async.ErrFull)
	write(t, filepath.Join(dir, "kept"), "1")
	for deadline := time.Now().Add(time.Minute); s.List()[0].Trouble == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no trouble shown")
		}
	}
	f.refuse(nil)
	hears(t, f, fmt.Sprintf(created, "kept", 1))

	s.Close()
	write(t, filepath.Join(dir, "while away"), "xy")
	os.Remove(filepath.Join(dir, "whole"))
	s, f = open(t, records, state)
	hears(t, f, fmt.Sprintf(created, "while+away", 2), fmt.Sprintf(removed, "whole"))

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	hears(t, f, fmt.Sprintf(removed, "a+b.txt"), fmt.Sprintf(removed, "slow"), fmt.Sprintf(removed, "link"), fmt.Sprintf(removed, "kept"), fmt.Sprintf(removed, "while+away"))
	write(t, filepath.Join(dir, "new"), "n") // the folder is there again, another one
	hears(t, f, fmt.Sprintf(created, "new", 1))
	if err := s.Remove(t.Context(), notify.Folder, "inbox"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(state, "inbox.told")); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
