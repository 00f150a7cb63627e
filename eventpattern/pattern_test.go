package eventpattern_test

import (
	"strings"
	"testing"

	"thaw/eventpattern"
)

// cases are documents that a pattern lets pass, and documents that it does not.
type cases struct{ pattern, pass, stop string }

func (c cases) run(t *testing.T) {
	t.Helper()
	p, err := eventpattern.Compile([]byte(c.pattern))
	if err != nil {
		t.Errorf("%s: %v", c.pattern, err)
		return
	}
	for _, side := range []struct {
		documents string
		want      bool
	}{{c.pass, true}, {c.stop, false}} {
		for document := range strings.Lines(side.documents) {
			if document = strings.TrimSpace(document); document == "" {
				continue
			}
			d, err := eventpattern.Parse([]byte(document))
			if err != nil {
				t.Errorf("%s: %v", document, err)
			} else if p.Match(d) != side.want {
				t.Errorf("%s on %s: %v, want %v", c.pattern, document, !side.want, side.want)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	for name, all := range map[string][]cases{
		// S-014
		"members and lists": {
			{
				`{"a":["x","y"],"b":{"c":[1]}}`,
				`{"a":"y","b":{"c":1},"more":true}`,
				"{\"a\":\"z\",\"b\":{\"c\":1}}\n{\"a\":\"x\"}\n{\"a\":\"x\",\"b\":1}\n{\"a\":\"x\",\"b\":{\"c\":2}}\n{}\n[]\n\"x\"",
			},
			{`{"a b":["\u0041\n"]}`, `{"a\u0020b":"A\u000a"}`, `{"a b":"A"}`},
			{`{"a":[true,false]}`, "{\"a\":true}\n{\"a\":false}", "{\"a\":null}\n{\"a\":\"true\"}"},
		},
		// S-015
		"exists": {
			{`{"a":[{"exists":true}]}`, "{\"a\":1}\n{\"a\":null}\n{\"a\":[[1]]}", "{\"b\":1}\n{\"a\":{\"b\":1}}\n{\"a\":[]}\n{\"a\":[{\"b\":1}]}"},
			{`{"a":[{"exists":false}]}`, "{\"b\":1}\n{}\n{\"a\":{\"b\":1}}\n{\"a\":[]}", "{\"a\":1}\n{\"a\":null}\n{\"a\":[1]}"},
			{`{"a":{"b":[{"exists":false}]}}`, "{}\n{\"a\":1}\n{\"a\":{\"c\":1}}\n{\"a\":[{\"c\":1}]}\n{\"a\":[]}\n{\"a\":[3]}", "{\"a\":{\"b\":1}}\n{\"a\":[{\"c\":1},{\"b\":1}]}\n{\"a\":[3,{\"b\":1}]}"},
			{`{"a":[{"exists":false},"x"]}`, "{}\n{\"a\":\"x\"}", `{"a":"y"}`},
			{`{"a":{"b":[{"exists":false}],"c":[1]}}`, `{"a":[{"c":1},{"c":2}]}`, `{"a":[{"c":1},{"b":2}]}`},
		},
		// S-016
		"prefix, suffix, case": {
			{`{"a":[{"prefix":"ab"}]}`, "{\"a\":\"ab\"}\n{\"a\":\"abc\"}\n{\"a\":\"\\u0061b\"}", "{\"a\":\"a\"}\n{\"a\":\"Ab\"}\n{\"a\":1}"},
			{`{"a":[{"suffix":".png"}]}`, `{"a":"x.png"}`, "{\"a\":\"x.PNG\"}\n{\"a\":\"png\"}"},
			{`{"a":[{"equals-ignore-case":"MiXed"}]}`, "{\"a\":\"mixed\"}\n{\"a\":\"MIXED\"}", `{"a":"mixed "}`},
			{`{"a":[{"prefix":{"equals-ignore-case":"Ä"}}]}`, "{\"a\":\"äx\"}\n{\"a\":\"Äx\"}", "{\"a\":\"ax\"}\n{\"a\":\"\"}"},
			{`{"a":[{"suffix":{"equals-ignore-case":".Png"}}]}`, `{"a":"x.PNG"}`, "{\"a\":\"xpng\"}\n{\"a\":\"g\"}"},
		},
		// S-017
		"anything-but": {
			{`{"a":[{"anything-but":"x"}]}`, "{\"a\":\"y\"}\n{\"a\":1}\n{\"a\":null}\n{\"a\":[\"x\",\"y\"]}", "{\"a\":\"x\"}\n{}\n{\"a\":{\"x\":1}}\n{\"a\":[\"x\"]}\n{\"a\":[]}"},
			{`{"a":[{"anything-but":["x","y"]}]}`, `{"a":"z"}`, "{\"a\":\"x\"}\n{\"a\":\"y\"}\n{}"},
			{`{"a":[{"anything-but":[1,2]}]}`, `{"a":3}`, `{"a":2}`},
			{`{"a":[{"anything-but":{"prefix":"x"}}]}`, "{\"a\":\"ax\"}\n{\"a\":5}", "{\"a\":\"xa\"}\n{}"},
			{`{"a":[{"anything-but":{"suffix":["x","y"]}}]}`, `{"a":"xa"}`, "{\"a\":\"ax\"}\n{\"a\":\"ay\"}"},
			{`{"a":[{"anything-but":{"equals-ignore-case":["x"]}}]}`, `{"a":"y"}`, `{"a":"X"}`},
			{`{"a":[{"anything-but":{"wildcard":"*/lib/*"}}]}`, `{"a":"/bin/x"}`, `{"a":"/lib/x"}`},
		},
		// S-018
		"numeric": {
			{`{"a":[{"numeric":["=",300]}]}`, "{\"a\":300}\n{\"a\":300.0}\n{\"a\":3.0e2}", "{\"a\":301}\n{\"a\":\"300\"}"},
			{`{"a":[{"numeric":[">",0,"<=",5]}]}`, "{\"a\":0.1}\n{\"a\":5}", "{\"a\":0}\n{\"a\":5.01}\n{\"a\":-1}"},
			{`{"a":[{"numeric":[">=",-2,"<",2]}]}`, "{\"a\":-2}\n{\"a\":0}", "{\"a\":2}\n{\"a\":-2.5}"},
			{`{"a":[{"numeric":["<",1]}]}`, `{"a":-1e300}`, `{"a":1}`},
		},
		// S-019
		"numbers by their text": {
			{`{"a":[300]}`, `{"a":300}`, "{\"a\":300.0}\n{\"a\":3.0e2}\n{\"a\":\"300\"}"},
		},
		// S-020
		"$or": {
			{`{"$or":[{"a":[1]},{"b":{"c":[2]}}]}`, "{\"a\":1}\n{\"b\":{\"c\":2}}", "{\"a\":2}\n{\"b\":2}\n{}"},
			{`{"z":[0],"$or":[{"a":[1]},{"a":[2],"b":[2]}]}`, "{\"z\":0,\"a\":1}\n{\"z\":0,\"a\":2,\"b\":2}", "{\"a\":1}\n{\"z\":0,\"a\":2}\n{\"z\":0}"},
			{`{"o":{"$or":[{"a":[1]},{"b":[2]}]}}`, `{"o":{"b":2}}`, `{"b":2}`},
			{`{"$or":["x"]}`, `{"$or":"x"}`, `{"a":"x"}`},
			{`{"$or":[{"exists":true}]}`, `{"$or":"x"}`, `{"exists":true}`},
		},
		// S-021
		"null and the empty string": {
			{`{"a":[null]}`, `{"a":null}`, "{\"a\":\"\"}\n{\"a\":\"null\"}\n{}"},
			{`{"a":[""]}`, `{"a":""}`, "{\"a\":null}\n{\"a\":\" \"}\n{}"},
		},
		// S-022
		"arrays": {
			{`{"a":["x"]}`, "{\"a\":[\"y\",\"x\"]}\n{\"a\":[[\"x\"]]}", "{\"a\":[]}\n{\"a\":[\"y\"]}\n{\"a\":[{\"a\":\"x\"}]}"},
			{`{"a":{"b":[1],"c":[2]}}`, "{\"a\":[{\"b\":9},{\"b\":1,\"c\":2}]}\n{\"a\":[[{\"b\":1,\"c\":[3,2]}]]}", "{\"a\":[{\"b\":1},{\"c\":2}]}\n{\"a\":[]}"},
		},
		// S-023
		"the last of a name": {
			{`{"a":["x"],"a":["y"]}`, `{"a":"y"}`, `{"a":"x"}`},
			{`{"a":["x"],"\u0061":["y"]}`, `{"a":"y"}`, `{"a":"x"}`},
			{`{"a":["x"]}`, `{"a":"y","a":"x"}`, `{"a":"x","a":"y"}`},
		},
		"wildcard": {
			{`{"a":[{"wildcard":"a*b*c"}]}`, "{\"a\":\"abc\"}\n{\"a\":\"axxbbyyc\"}", "{\"a\":\"ac\"}\n{\"a\":\"abcd\"}\n{\"a\":\"acb\"}"},
			{`{"a":[{"wildcard":"aa*aa"}]}`, `{"a":"aaaa"}`, `{"a":"aaa"}`},
			{`{"a":[{"wildcard":"*"}]}`, "{\"a\":\"\"}\n{\"a\":\"x\"}", `{"a":1}`},
			{`{"a":[{"wildcard":"a\\*\\\\*"}]}`, `{"a":"a*\\x"}`, `{"a":"ab\\x"}`},
			{`{"a":[{"wildcard":"ab"}]}`, `{"a":"ab"}`, "{\"a\":\"a\"}\n{\"a\":\"abb\"}"},
		},
		"cidr": {
			{`{"a":[{"cidr":"10.0.0.0/24"}]}`, "{\"a\":\"10.0.0.255\"}\n{\"a\":\"::ffff:10.0.0.1\"}", "{\"a\":\"10.0.1.0\"}\n{\"a\":\"x\"}\n{\"a\":10}"},
			{`{"a":[{"cidr":"2001:db8::/32"}]}`, `{"a":"2001:db8::1"}`, `{"a":"2001:db9::1"}`},
			{`{"a":[{"cidr":"10.0.0.7"}]}`, `{"a":"10.0.0.7"}`, `{"a":"10.0.0.8"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range all {
				c.run(t)
			}
		})
	}
}

// S-024
func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{``, "valid JSON"},
		{`None`, "valid JSON"},
		{`"simple string"`, "not an object"},
		{`[]`, "not an object"},
		{`{}`, "empty object"},
		{`{"eventSource":"aws:sqs"}`, `member "eventSource" is neither`},
		{`{"eventSource":[]}`, "empty list"},
		{`{"a":{"b":{}}}`, `member "b" of ["a"] is an empty object`},
		{`{"a":[["x"]]}`, "list in a list"},
		{`{"a":[{}]}`, "one member"},
		{`{"a":[{"prefix":"x","suffix":"y"}]}`, "one member"},
		{`{"a":[{"like":"x"}]}`, `unknown operator "like"`},
		{`{"a":[{"exists":"yes"}]}`, "true or false"},
		{`{"a":[{"prefix":1}]}`, "takes a string"},
		{`{"a":[{"prefix":{"suffix":"x"}}]}`, "equals-ignore-case"},
		{`{"a":[{"cidr":"10.0.0.0/33"}]}`, "takes an address"},
		{`{"a":[{"wildcard":"a**"}]}`, "two stars"},
		{`{"a":[{"wildcard":"a\\b"}]}`, "backslash"},
		{`{"a":[{"numeric":[]}]}`, "comparison"},
		{`{"a":[{"numeric":["!=",1]}]}`, "comparison"},
		{`{"a":[{"numeric":[">","1"]}]}`, "comparison"},
		{`{"a":[{"numeric":["<",1,">",0]}]}`, "comparison"},
		{`{"a":[{"numeric":[">",1,"<",1]}]}`, "lower bound"},
		{`{"a":[{"anything-but":[]}]}`, "at least one"},
		{`{"a":[{"anything-but":["x",1]}]}`, "not both"},
		{`{"a":[{"anything-but":[null]}]}`, "strings or numbers"},
		{`{"a":[{"anything-but":{"exists":true}}]}`, "no other operator"},
		{`{"a":[{"anything-but":{"prefix":""}}]}`, "empty string"},
		{`{"$or":[{"a":"x"}]}`, "neither"},
		{`{"a":["x"]} x`, "valid JSON"},
	} {
		if _, err := eventpattern.Compile([]byte(c.pattern)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.pattern, err, c.want)
		}
	}
}

func TestShapeAndWithout(t *testing.T) {
	p, err := eventpattern.Compile([]byte(`{"topic":["t"],"value":{"a":[1]},"$or":[{"key":["k"]},{"partition":[3],"value":["x"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]eventpattern.Shape{
		"topic": eventpattern.Plain, "value": eventpattern.Nested, "key": eventpattern.Plain, "offset": eventpattern.None,
	} {
		if got := p.Shape(name); got != want {
			t.Errorf("shape of %s: %d, want %d", name, got, want)
		}
	}
	rest := p.Without("value")
	for document, want := range map[string]bool{
		`{"topic":"t","partition":3}`:           true,
		`{"topic":"t","key":"k","value":false}`: true,
		`{"topic":"u","partition":3}`:           false,
		`{"topic":"t","partition":4}`:           false,
	} {
		d, _ := eventpattern.Parse([]byte(document))
		if rest.Match(d) != want {
			t.Errorf("without value, %s: %v", document, !want)
		}
		if p.Match(d) {
			t.Errorf("with value, %s passes", document)
		}
	}
	only, _ := eventpattern.Compile([]byte(`{"value":["x"]}`))
	d, _ := eventpattern.Parse([]byte(`{"value":"y"}`))
	if only.Match(d) || !only.Without("value").Match(d) {
		t.Error("a pattern that asks for nothing else does not let everything pass")
	}
}
