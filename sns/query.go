package sns

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The query protocol: parameters are those of a form, lists are NAME.member.N, maps NAME.entry.N.key and .value. Source:
// Smithy, "AWS query protocol".

// params are a request's.
type params struct{ url.Values }

func readParams(r *http.Request, body []byte) (params, error) {
	text := string(body)
	if r.Method == http.MethodGet { // signed by its query
		text = r.URL.RawQuery
	}
	v, err := url.ParseQuery(text)
	if err != nil {
		return params{}, &failure{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error"}
	}
	return params{v}, nil
}

// must is a parameter that has to be there.
func (p params) must(name string) (string, error) {
	if !p.Has(name) {
		return "", missing(strings.ToLower(name[:1]) + name[1:])
	}
	return p.Get(name), nil
}

// maxItems bounds lists and maps of a request; ours. The longest that the service has are shorter.
const maxItems = 1000

// items are the prefixes of a list's or a map's members: NAME.member.1. in their order. The numbers may begin at 1 and
// must have no gap.
func (p params) items(name, kind string) (list []string) {
	numbers := map[int]bool{}
	for key := range p.Values {
		rest, ok := strings.CutPrefix(key, name+"."+kind+".")
		if !ok {
			continue
		}
		n, _, _ := strings.Cut(rest, ".")
		if i, err := strconv.Atoi(n); err == nil && i > 0 {
			numbers[i] = true
		}
	}
	for _, i := range slices.Sorted(maps.Keys(numbers)) {
		if len(list) == maxItems {
			break
		}
		list = append(list, fmt.Sprintf("%s.%s.%d", name, kind, i))
	}
	return list
}

func (p params) list(name string) (values []string) {
	for _, at := range p.items(name, "member") {
		values = append(values, p.Get(at))
	}
	return values
}

func (p params) table(name string) map[string]string {
	m := map[string]string{}
	for _, at := range p.items(name, "entry") {
		m[p.Get(at+".key")] = p.Get(at + ".value")
	}
	return m
}

func (p params) tags(name string) (tags []Tag, err error) {
	seen := map[string]bool{}
	for _, at := range p.items(name, "member") {
		t := Tag{p.Get(at + ".Key"), p.Get(at + ".Value")}
		switch {
		case seen[t.Key]:
			return nil, invalid("Duplicated keys are not allowed.")
		case t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256:
			return nil, invalid("Tags Reason: a key has 1 to 128 characters, a value at most 256")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, invalid("Tags Reason: aws: prefixed tag key names are not allowed for external use.")
		}
		seen[t.Key] = true
		tags = append(tags, t)
	}
	return tags, nil
}

// attributes are those of a message below a prefix, in the order in which they were sent.
func (p params) attributes(prefix string) (list []Attribute, err error) {
	for _, at := range p.items(prefix+"MessageAttributes", "entry") {
		a := Attribute{Name: p.Get(at + ".Name"), Type: p.Get(at + ".Value.DataType")}
		text, binary := at+".Value.StringValue", at+".Value.BinaryValue"
		if !p.Has(at + ".Value.DataType") {
			return nil, missing(strings.ToLower(prefix[:min(1, len(prefix))]) + prefix[min(1, len(prefix)):] + "messageAttributes." + a.Name + ".member.dataType")
		}
		a.has = p.Has(text) || p.Has(binary)
		a.isBinary = p.Has(binary)
		a.Value = p.Get(text)
		if a.isBinary {
			if _, err := base64.StdEncoding.DecodeString(p.Get(binary)); err != nil {
				return nil, invalidValue("The message attribute '%s' has a BinaryValue that is not base64.", a.Name)
			}
			a.Value = p.Get(binary)
		}
		list = append(list, a)
	}
	return list, nil
}

// attributeMap is a map as answers have it.
type attributeMap map[string]string

// MarshalXML implements xml.Marshaler: <entry><key/><value/></entry>, sorted.
func (m attributeMap) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	type entry struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	out := struct {
		Entry []entry `xml:"entry"`
	}{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out.Entry = append(out.Entry, entry{k, m[k]})
	}
	return e.EncodeElement(out, start)
}

// answer is what every operation answers: its result below a name of its own.
func answer(operation string, result any, requestID string) ([]byte, error) {
	type body struct {
		XMLName xml.Name
		NS      string `xml:"xmlns,attr"`
		Result  any
		ID      string `xml:"ResponseMetadata>RequestId"`
	}
	b := body{XMLName: xml.Name{Local: operation + "Response"}, NS: namespace, ID: requestID}
	if result != nil {
		b.Result = named{operation + "Result", result}
	}
	return xml.MarshalIndent(b, "", "  ")
}

// named is a value under a name of its own.
type named struct {
	name  string
	value any
}

// MarshalXML implements xml.Marshaler.
func (n named) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(n.value, xml.StartElement{Name: xml.Name{Local: n.name}})
}
