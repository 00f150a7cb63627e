package sns

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Policies on attributes and bodies. Source: SNS Developer Guide, "Subscription filter policies", and what was recorded.
func TestFilterPolicies(t *testing.T) {
	t.Parallel()
	text := func(name, value string) Attribute { return Attribute{Name: name, Type: "String", Value: value} }
	for _, c := range []struct {
		policy, scope, body string
		attributes          []Attribute
		want                bool
	}{
		{`{"store":["example_corp"]}`, "", "m", []Attribute{text("store", "example_corp")}, true},
		{`{"store":["example_corp"]}`, "", "m", []Attribute{text("store", "Example_corp")}, false},
		{`{"store":["example_corp"]}`, "", "m", nil, false},
		{`{}`, "", "m", nil, true},
		{`{"a":["x"],"b":["y","z"]}`, "", "m", []Attribute{text("a", "x"), text("b", "z")}, true},
		{`{"a":["x"],"b":["y","z"]}`, "", "m", []Attribute{text("a", "x")}, false},
		{`{"a":[{"anything-but":["x","y"]}]}`, "", "m", []Attribute{text("a", "z")}, true},
		{`{"a":[{"anything-but":["x","y"]}]}`, "", "m", []Attribute{text("a", "y")}, false},
		{`{"a":[{"anything-but":["x","y"]}]}`, "", "m", nil, false},
		{`{"a":[{"anything-but":{"prefix":"order-"}}]}`, "", "m", []Attribute{text("a", "order-1")}, false},
		{`{"a":[{"anything-but":{"prefix":"order-"}}]}`, "", "m", []Attribute{text("a", "data")}, true},
		{`{"a":[{"prefix":"bas"},{"suffix":"ball"}]}`, "", "m", []Attribute{text("a", "football")}, true},
		{`{"a":[{"equals-ignore-case":"Tennis"}]}`, "", "m", []Attribute{text("a", "TENNIS")}, true},
		{`{"a":[{"cidr":"10.0.0.0/24"}]}`, "", "m", []Attribute{text("a", "10.0.0.255")}, true},
		{`{"a":[{"cidr":"10.0.0.0/24"}]}`, "", "m", []Attribute{text("a", "10.1.1.0")}, false},
		{`{"a":[{"exists":true}]}`, "", "m", []Attribute{text("a", "x")}, true},
		{`{"a":[{"exists":false}]}`, "", "m", []Attribute{text("a", "x")}, false},
		{`{"a":[{"exists":false}]}`, "", "m", nil, true},
		{`{"n":[{"numeric":[">",0,"<=",150]}]}`, "", "m", []Attribute{{Name: "n", Type: "Number", Value: "150.0"}}, true},
		{`{"n":[{"numeric":["=",301.5]}]}`, "", "m", []Attribute{{Name: "n", Type: "Number", Value: "3.015e2"}}, true},
		{`{"n":[{"numeric":["<",0]}]}`, "", "m", []Attribute{text("n", "-1")}, false}, // a string is no number
		{`{"n":[100]}`, "", "m", []Attribute{{Name: "n", Type: "Number.int", Value: "100"}}, true},
		{`{"a":["x",true,null]}`, "", "m", []Attribute{{Name: "a", Type: "String.Array", Value: `["q",true]`}}, true},
		{`{"a":["x"]}`, "", "m", []Attribute{{Name: "a", Type: "String.Array", Value: `["q","r"]`}}, false},
		{`{"a":[{"exists":false}]}`, "", "m", []Attribute{{Name: "a", Type: "Binary", Value: "eA=="}}, true},
		{`{"s":["x"],"$or":[{"m":["A"]},{"n":["B"]}]}`, "", "m", []Attribute{text("s", "x"), text("n", "B")}, true},
		{`{"s":["x"],"$or":[{"m":["A"]},{"n":["B"]}]}`, "", "m", []Attribute{text("s", "x"), text("n", "C")}, false},
		{`{"a":{"b":{"c":["x",{"numeric":[">",3]}]}}}`, byBody, `{"a":{"b":{"c":4}}}`, nil, true},
		{`{"a":{"b":["x"]}}`, byBody, `{"a":[{"b":"y"},{"b":"x"}]}`, nil, true},
		{`{"a":["x"]}`, byBody, `{"a":"y"}`, nil, false},
		{`{"a":["x"]}`, byBody, `no JSON`, []Attribute{text("a", "x")}, false},
		{`{"a":["x"]}`, byBody, `["x"]`, nil, false},
	} {
		f, err := newFilter(c.policy, c.scope)
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		d := documents{m: &Message{Text: c.body, Attributes: c.attributes}}
		if d.pass(f, toSQS) != c.want {
			t.Errorf("%s, %s, %v: want %v", c.policy, c.body, c.attributes, c.want)
		}
	}
}

// What is wrong with a policy, in the service's words.
func TestWrongPolicies(t *testing.T) {
	t.Parallel()
	many := func(n int) string { return `[` + strings.TrimSuffix(strings.Repeat(`"x",`, n), ",") + `]` }
	for _, c := range [][3]string{
		{`{"a":["x"]`, "", "failed to parse JSON"}, {`["a"]`, "", "failed to parse JSON"}, {`{"a":["x"]} x`, "", "failed to parse JSON"},
		{`{"a":[]}`, "", "Empty arrays are not allowed"}, {`{"a":"x"}`, "", `"a" must be an object or an array`},
		{`{"a":[["x"]]}`, "", "Match value must be String, number, true, false, or null"},
		{`{"a":[{"prefix":"x","suffix":"y"}]}`, "", "Only one key allowed in match expression"},
		{`{"a":[{"wildcard":"x*"}]}`, "", "Unrecognized match type wildcard"}, {`{"a":[{"prefix":7}]}`, "", "prefix match pattern must be a string"},
		{`{"a":[{"exists":"yes"}]}`, "", "exists match pattern must be either true or false."},
		{`{"a":[{"anything-but":{"numeric":["=",1]}}]}`, "", "Unsupported anything-but pattern: numeric"},
		{`{"a":[{"numeric":[]}]}`, "", "Invalid member in numeric match: ]"}, {`{"a":[{"numeric":["~",1]}]}`, "", "Unrecognized numeric range operator: ~"},
		{`{"a":[{"numeric":["="]}]}`, "", "Value of equals must be numeric"}, {`{"a":[{"numeric":["<",1,">",2]}]}`, "", "Too many elements in numeric expression"},
		{`{"a":[{"numeric":[">",1,">",2]}]}`, "", "Bad numeric range operator: >"}, {`{"a":[{"numeric":[">",2,"<",1]}]}`, "", "Bottom must be less than top"},
		{`{"a":[{"cidr":"10.0.0.0"}]}`, "", "Malformed CIDR, one '/' required"}, {`{"a":[{"cidr":"10.0.0.0/x"}]}`, "", "mask bits must be an integer"},
		{`{"a":[{"cidr":"10.0.0/8"}]}`, "", "Nonstandard IP address: 10.0.0"},
		{`{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"],"f":["x"]}`, "", "can not have more than 5 keys"},
		{`{"a":` + many(31) + `,"b":` + many(5) + `}`, "", "Filter policy is too complex"},
		{`{"a":{"b":{"c":` + many(4) + `}},"d":{"e":` + many(7) + `}}`, byBody, "Filter policy is too complex"}, // 3x4 x 2x7 = 168
	} {
		if _, err := newFilter(c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%.60s: %v, want %q", c[0], err, c[2])
		}
	}
	for _, ok := range []string{`{"a":` + many(30) + `,"b":` + many(5) + `}`, `{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"]}`} { // 150, and 5
		if _, err := newFilter(ok, ""); err != nil {
			t.Errorf("%.40s: %v", ok, err)
		}
	}
	// The guide's example: 3x4 x 2x3 = 72.
	if _, err := newFilter(`{"key_a":{"key_b":{"key_c":["1","2","3","4"]}},"key_d":{"key_e":["1","2","3"]}}`, byBody); err != nil {
		t.Error(err)
	}
}

// A policy that is taken decides about any message, and one with the very value in it lets that pass.
func FuzzFilterPolicy(f *testing.F) {
	for _, p := range []string{`{"a":["x"]}`, `{"a":[{"numeric":[">",1,"<",5]}],"$or":[{"b":["x"]},{"c":[{"exists":false}]}]}`, `{"a":{"b":[{"anything-but":["x"]}]}}`,
		`{"a":[{"cidr":"::/0"},{"prefix":""}]}`, `{"$or":["x"]}`, `{"$or":[{"prefix":["x"]},{"b":["y"]}]}`} {
		f.Add(p, "x", `{"a":"x"}`)
	}
	f.Fuzz(func(t *testing.T, policy, value, body string) {
		for _, scope := range []string{byAttributes, byBody} {
			filter, err := newFilter(policy, scope)
			if err != nil {
				continue
			}
			d := documents{m: &Message{Text: body, Attributes: []Attribute{{Name: "a", Type: "String", Value: value}, {Name: "b", Type: "Number", Value: value}, {Name: "c", Type: "String.Array", Value: value}}}}
			d.pass(filter, toSQS)
		}
		exact, err := json.Marshal(map[string][]string{"a": {value}})
		if err != nil {
			return
		}
		filter, err := newFilter(string(exact), "")
		if err != nil {
			t.Fatalf("%s: %v", exact, err)
		}
		d := documents{m: &Message{Attributes: []Attribute{{Name: "a", Type: "String", Value: value}}}}
		if !d.pass(filter, toSQS) {
			t.Errorf("%s does not let %q pass", exact, value)
		}
	})
}

// The parameters of a request, whatever they are, make a message or a refusal.
func FuzzMessage(f *testing.F) {
	f.Add("Message=m&Subject=s&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=x")
	f.Add("Message=%7B%22default%22%3A%22x%22%7D&MessageStructure=json&MessageGroupId=g")
	f.Add("Message=m&MessageAttributes.entry.2.Value.DataType=Binary&MessageAttributes.entry.2.Value.BinaryValue=eA==")
	f.Fuzz(func(t *testing.T, query string) {
		p, err := readParams(&http.Request{Method: "POST"}, []byte(query))
		if err != nil {
			return
		}
		c := &call{s: &Server{}, p: p}
		c.s.o.Now = func() (at time.Time) { return at }
		m, err := c.message("")
		if err != nil {
			if _, ok := err.(*failure); !ok {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		n := m.notification(&Subscription{ARN: "arn", Protocol: toSQS}, "http://localhost")
		if _, err := n.Body(); err != nil {
			t.Error(err)
		}
		if m.size() < len(m.textFor("default")) {
			t.Errorf("size %d of %q", m.size(), query)
		}
		if !json.Valid(attributesDocument(m.Attributes)) {
			t.Errorf("attributes of %q", query)
		}
	})
}
