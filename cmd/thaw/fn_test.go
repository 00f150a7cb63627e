package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settingsBeside is a thaw.yaml with all that can be set without a snapshot.
const settingsBeside = `name: shop
description: sells
runtime: provided.al2023
handler: bootstrap
role: arn:aws:iam::000000000000:role/shop
memory: 256
timeout: 9
tmp: 600
environment:
  GREETING: 007
layers: [libs]
tags: {team: 12}
alias: live
url: none
concurrency: 3
provisioned: 1
`

// A folder with a thaw.yaml is deployed as the file says; flags win; what the file no longer says of variables and layers goes,
// and what it does not speak of stays. Then the commands show and change what was made, and delete it.
func TestDeployWithSettings(t *testing.T) {
	serving(t)
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("code/bootstrap", shellRuntime)
	write("code/thaw.yaml", settingsBeside)
	write("libs/lib/x", "x")
	did := func(v any, words ...string) string {
		t.Helper()
		if v != nil {
			words = append(words, "-o", "json")
		}
		r := thaw(t.Context(), words...)
		if r.code != exitOK {
			t.Fatalf("%q: exit %d, %s", words, r.code, r.words)
		}
		if v != nil {
			if err := json.Unmarshal([]byte(r.out), v); err != nil {
				t.Fatalf("%q: %v in %s", words, err, r.out)
			}
		}
		return r.out
	}
	did(nil, "layer", "publish", "libs", "libs")
	did(nil, "layer", "publish", "libs", "libs")

	var d deployment
	did(&d, "deploy", "code", "--memory", "192", "--env", "MORE=1")
	if d.Function != "shop" || d.Change != "created" || d.Version != "1" || d.Alias != "live" {
		t.Errorf("%+v", d)
	}
	answers(t, d.URL, "007")
	var s shownFunction
	did(&s, "fn", "show", "shop")
	if s.MemoryMiB != 192 || s.TimeoutS != 9 || s.TmpMiB != 600 || s.Description != "sells" || s.Environment["GREETING"] != "007" || s.Environment["MORE"] != "1" ||
		s.Tags["team"] != "12" || s.Reserved == nil || *s.Reserved != 3 || !strings.HasSuffix(s.Role, "/shop") {
		t.Errorf("%+v", s)
	}
	if len(s.Layers) != 1 || !strings.HasSuffix(s.Layers[0], ":layer:libs:2") || !slices.Equal(s.Versions, []string{"1"}) ||
		len(s.Aliases) != 1 || len(s.URLs) != 1 || s.URLs[0].Qualifier != "live" {
		t.Errorf("%+v %+v %+v", s, s.Aliases, s.URLs)
	}
	if text := did(nil, "fn", "show", "shop:live"); strings.Contains(text, "007") || !strings.Contains(text, "GREETING, MORE") {
		t.Errorf("values of variables are shown: %s", text)
	}

	did(&d, "deploy", "code", "--memory", "192", "--env", "MORE=1")
	if d.Change != "unchanged" || d.Version != "1" {
		t.Errorf("without a change: %+v", d)
	}
	did(nil, "url", "set", "shop:live", "--stream", "--origin", "https://example.com")
	write("code/thaw.yaml", "name: shop\nenvironment:\n  GREETING: hi\nlayers: []\nalias: live\nurl: none\n")
	did(&d, "deploy", "code")
	s = shownFunction{} // a decoder adds to maps
	did(&s, "fn", "show", "shop")
	if d.Version != "2" || len(s.Environment) != 1 || len(s.Layers) != 0 || s.Description != "sells" || s.Aliases[0].Version != "2" {
		t.Errorf("%+v\n%+v", d, s)
	}
	var u shownURL
	if did(&u, "url", "show", "shop:live"); !u.Stream || u.CORS == nil || u.CORS.AllowOrigins[0] != "https://example.com" || u.URL != d.URL {
		t.Errorf("what was set of the URL does not stay: %+v", u)
	}
	answers(t, d.URL, `"hi"`) // a stream goes out as it is
	write("code/thaw.yaml", "name: shop\n\nmemroy: 1\n")
	if r := thaw(t.Context(), "deploy", "code"); r.code != exitMisuse || !strings.Contains(r.words, "thaw.yaml:3: there is no key memroy") {
		t.Errorf("exit %d, %s", r.code, r.words)
	}
	aliasesAndURLs(t, did)
	completes(t)

	did(nil, "alias", "rm", "shop:live")
	did(nil, "fn", "rm", "shop:1")
	did(nil, "fn", "rm", "shop")
	for _, gone := range [][]string{{"fn", "show", "shop"}, {"fn", "rm", "shop"}, {"alias", "rm", "shop:live"}, {"url", "rm", "shop"}} {
		if r := thaw(t.Context(), gone...); r.code != exitFailed || !strings.Contains(r.words, "ResourceNotFoundException") {
			t.Errorf("%q of nothing: exit %d, %s", gone, r.code, r.words)
		}
	}
}

func aliasesAndURLs(t *testing.T, did func(any, ...string) string) {
	t.Helper()
	if text := did(nil, "alias", "set", "shop:live", "1", "--weight", "2=0.25", "--description", "new ones"); text != "shop:live leads to 1, 25 % to 2\n" {
		t.Errorf("%q", text)
	}
	var all []shownAlias
	if did(&all, "alias", "ls", "shop"); len(all) != 1 || all[0].Weights["2"] != 0.25 || all[0].Description != "new ones" {
		t.Errorf("%+v", all)
	}
	if text := did(nil, "alias", "set", "shop:live"); text != "shop:live leads to 1\n" {
		t.Errorf("%q", text)
	}
	var u shownURL
	if did(&u, "url", "set", "shop:live", "--auth", "iam", "--stream=false"); u.Auth != "iam" || u.Stream {
		t.Errorf("%+v", u)
	}
	refuses(t, u.URL)
	did(nil, "url", "set", "shop")
	var urls []shownURL
	if did(&urls, "url", "ls"); len(urls) != 2 {
		t.Errorf("%+v", urls)
	}
	did(nil, "url", "rm", "shop")
	if did(&urls, "url", "ls", "shop"); len(urls) != 1 {
		t.Errorf("%+v", urls)
	}
}

// completes asks for what a shell would.
func completes(t *testing.T) {
	t.Helper()
	for typed, want := range map[string]string{
		"fn show |":                 "shop",
		"invoke sh|":                "shop",
		"invoke shop:|":             "shop:1 shop:2 shop:live",
		"alias set shop:|":          "shop:live",
		"alias set shop:live |":     "1 2",
		"alias show s|":             "shop:",
		"layer ls |":                "libs",
		"layer rm libs:|":           "libs:2 libs:1",
		"logs |":                    "shop",
		"logs shop |":               "",
		"completion |":              "bash zsh fish",
		"url set --auth |":          "none iam",
		"invoke shop --qualifier |": "1 2 live",
		"url set --endpoint http://127.0.0.1:1 |": "",
	} {
		before, last, _ := strings.Cut(typed, "|")
		words := append([]string{"__complete"}, strings.Split(before+last, " ")...)
		r := thaw(t.Context(), words...)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if got := strings.Join(lines[:len(lines)-1], " "); r.code != exitOK || got != want {
			t.Errorf("%s completes to %q (exit %d, %s), want %q", typed, got, r.code, r.words, want)
		}
	}
}

// called is the answer of a URL. Names under localhost, which browsers and curl find by themselves, this resolver does not.
func called(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func answers(t *testing.T, url, want string) {
	t.Helper()
	if status, body := called(t, url); status != http.StatusOK || body != want {
		t.Errorf("the URL answers %d %s, want %s", status, body, want)
	}
}

func refuses(t *testing.T, url string) {
	t.Helper()
	if status, body := called(t, url); status != http.StatusForbidden {
		t.Errorf("the URL answers %d %s without a signature", status, body)
	}
}
