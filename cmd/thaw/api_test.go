package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"thaw/admin"
)

// The commands of APIs: one is made in front of a function, asked, found again, listed, shown and deleted.
func TestAPICommands(t *testing.T) {
	dir := serving(t)
	deploy(t, dir, "hello")
	var made, again shownAPI
	ran(t, &made, "api", "add", "hello", "--name", "shop", "--route", "GET /orders/{id}", "--route", "POST /orders", "--origin", "*")
	if made.Kind != "http" || len(made.Stages) != 1 {
		t.Fatalf("%+v", made)
	}
	if ran(t, &again, "api", "add", "hello", "--name", "shop"); again.ID != made.ID {
		t.Errorf("made again it is another: %+v", again)
	}
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(made.Stages[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/orders/7": http.StatusOK, "/none": http.StatusNotFound} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, health.Endpoint+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = u.Host // the name need not be found here
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s of %s: %d %s", path, u.Host, resp.StatusCode, body)
		}
	}
	var list []shownAPI
	if ran(t, &list, "api", "ls"); len(list) != 1 || list[0].ID != made.ID || list[0].Stages[0].URL != made.Stages[0].URL {
		t.Errorf("%+v", list)
	}
	var shown shownAPI
	if ran(t, &shown, "api", "show", "shop"); len(shown.Routes) != 2 || shown.Routes[0] != (shownRoute{"GET /orders/{id}", "none", "hello"}) {
		t.Errorf("%+v", shown)
	}
	if text := ran(t, nil, "api", "show", made.ID); !strings.Contains(text, "POST /orders") || !strings.Contains(text, made.Stages[0].URL) {
		t.Errorf("%s", text)
	}
	deploy(t, dir, "other")
	for words, want := range map[string]string{"add other --name shop": "leads elsewhere", "show none": "thaw api ls", "add none": "not found", "add hello --name x --route nonsense": "route key"} {
		if r := thaw(t.Context(), append([]string{"api"}, strings.Fields(words)...)...); r.code == exitOK || !strings.Contains(r.words, want) {
			t.Errorf("%s: exit %d, %q, want %q", words, r.code, r.words, want)
		}
	}
	ran(t, nil, "api", "rm", "shop")
	if text := ran(t, nil, "api", "ls"); strings.Contains(text, made.ID) || strings.Contains(text, "nonsense") {
		t.Errorf("%s", text)
	}
}
