package project

import (
	"reflect"
	"strings"
	"testing"
)

func TestSettingsBesideTheCode(t *testing.T) {
	s, err := ReadSettings(folder(t, "f", map[string]string{SettingsFile: `# how it is deployed
name: shop
memory: 256
timeout: 0x1e
environment:
  PORT: 8080
  RATIO: 1.50 # as it stands here
  CODE: 007
  ON: true
  TEXT: |
    two
    lines
  NOTHING:
layers: [libs, "tools:2"]
tags: {team: 12}
snapstart: true
alias: live
concurrency: 0
url:
  auth: iam
  stream: true
  cors: {origins: ["*"], maxage: 60}
`}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Text{"PORT": "8080", "RATIO": "1.50", "CODE": "007", "ON": "true", "TEXT": "two\nlines\n", "NOTHING": ""}
	if !reflect.DeepEqual(s.Environment, want) {
		t.Errorf("variables %q, want %q", s.Environment, want)
	}
	if s.Name != "shop" || s.Memory != 256 || s.Timeout != 30 || len(s.Layers) != 2 || s.Tags["team"] != "12" || !s.SnapStart || !s.Publishes() {
		t.Errorf("%+v", s)
	}
	if s.Concurrency == nil || *s.Concurrency != 0 || s.Provisioned != nil {
		t.Errorf("a concurrency of 0 is one, and none is none: %+v", s)
	}
	if u := s.URL; u == nil || u.Auth != "iam" || u.Stream == nil || !*u.Stream || u.CORS == nil || u.CORS.MaxAge != 60 || u.CORS.Origins[0] != "*" {
		t.Errorf("the URL is %+v", u)
	}
}

func TestSettingsWithoutAFile(t *testing.T) {
	for what, files := range map[string]map[string]string{"no file": nil, "an empty one": {SettingsFile: "# name: x\n"}} {
		if s, err := ReadSettings(folder(t, "f", files)); err != nil || !reflect.DeepEqual(s, Settings{}) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	if s, err := ReadSettings(folder(t, "f", map[string]string{SettingsFile: "url: none\nlayers: []\n"})); err != nil || s.URL == nil || s.URL.Auth != "none" || s.Layers == nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"name: f\nmemroy: 256\n":                "thaw.yaml:2: there is no key memroy; there are name, description, runtime",
		"url:\n  auht: none\n":                  "thaw.yaml:2: there is no key auht",
		"url:\n  auth: none\n  cors:\n    x: 1": "thaw.yaml:4: there is no key x",
		"name: f\n\nmemory: much\n":             "thaw.yaml:3: the value must be a whole number, not much",
		"memory: 1.5":                           "thaw.yaml:1: the value must be a whole number, not 1.5",
		"memory: 99999999999":                   "thaw.yaml:1: the value must be a whole number, not 99999999999",
		"snapstart: perhaps":                    "thaw.yaml:1: the value must be true or false",
		"environment:\n  LIST: [1]\n":           "thaw.yaml:2: the value must be a text",
		"layers: libs\n":                        "thaw.yaml:1: string was used where sequence is expected",
		"name: f\nname: g\n":                    `thaw.yaml:2: mapping key "name" already defined`,
		"name: [f\n":                            "thaw.yaml:1: sequence end token",
		"- name\n":                              "thaw.yaml:1: ",
		"name: f\n---\nname: g\n":               "more than one document",
		"provisioned: 1\n":                      "provisioned concurrency needs a version",
		"url: everybody\n":                      `none or iam, not "everybody"`,
	} {
		if s, err := ReadSettings(folder(t, "f", map[string]string{SettingsFile: text})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want %q", text, s, err, want)
		}
	}
}
