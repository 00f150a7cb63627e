package emf

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func document(meta, members string) string {
	return `{"_aws":{"Timestamp":1574109732004,"CloudWatchMetrics":[` + meta + `]}` + members + `}`
}

func TestParse(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]Point{
		// The example of the specification.
		document(`{"Namespace":"lambda-function-metrics","Dimensions":[["functionVersion"]],"Metrics":[{"Name":"time","Unit":"Milliseconds","StorageResolution":60}]}`,
			`,"functionVersion":"$LATEST","time":100,"requestId":"989ffbf8"`): {
			{"lambda-function-metrics", "time", "Milliseconds", []Dimension{{"functionVersion", "$LATEST"}}, []float64{100}}},
		document(`{"Namespace":"n","Dimensions":[["b","a"],[]],"Metrics":[{"Name":"m"}]}`, `,"a":"1","b":"2","m":[1,2.5,-3]`): {
			{"n", "m", "None", []Dimension{{"a", "1"}, {"b", "2"}}, []float64{1, 2.5, -3}}, {"n", "m", "None", []Dimension{}, []float64{1, 2.5, -3}}},
		document(`{"Namespace":"n","Metrics":[{"Name":"m","Unit":"Count"},{"Name":"absent"}]}`, `,"m":1`):               {{"n", "m", "Count", nil, []float64{1}}},
		document(`{"Namespace":"n","Dimensions":[["absent"],["empty"]],"Metrics":[{"Name":"m"}]}`, `,"m":1,"empty":""`): nil,
		document(`{"Namespace":"n","Dimensions":[["a","a"]],"Metrics":[{"Name":"m"}]}`, `,"m":1,"a":"x"`):               {{"n", "m", "None", []Dimension{{"a", "x"}}, []float64{1}}},
	} {
		got, err := Parse(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v\nwant %+v", line, got, err, want)
		}
		if !Looks(line) {
			t.Errorf("%s does not look like a document", line)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	list := func(n int, of string) string { return strings.TrimSuffix(strings.Repeat(of+",", n), ",") }
	for what, line := range map[string]string{
		"no object":          `["_aws"]`,
		"half a document":    `{"_aws":`,
		"no member":          `{"_AWS":{"CloudWatchMetrics":[]}}`,
		"no directive":       document(``, ``),
		"no namespace":       document(`{"Metrics":[{"Name":"m"}]}`, `,"m":1`),
		"a long namespace":   document(fmt.Sprintf(`{"Namespace":%q,"Metrics":[{"Name":"m"}]}`, strings.Repeat("n", 1025)), `,"m":1`),
		"a long value":       document(`{"Namespace":"n","Dimensions":[["a"]],"Metrics":[{"Name":"m"}]}`, fmt.Sprintf(`,"m":1,"a":%q`, strings.Repeat("n", 1025))),
		"a nameless metric":  document(`{"Namespace":"n","Metrics":[{}]}`, ``),
		"no unit":            document(`{"Namespace":"n","Metrics":[{"Name":"m","Unit":"Parsecs"}]}`, `,"m":1`),
		"no number":          document(`{"Namespace":"n","Metrics":[{"Name":"m"}]}`, `,"m":"1"`),
		"no finite number":   document(`{"Namespace":"n","Metrics":[{"Name":"m"}]}`, `,"m":1e999`),
		"an object":          document(`{"Namespace":"n","Metrics":[{"Name":"m"}]}`, `,"m":{"m":1}`),
		"a dimension of 1":   document(`{"Namespace":"n","Dimensions":[["a"]],"Metrics":[{"Name":"m"}]}`, `,"m":1,"a":1`),
		"101 values":         document(`{"Namespace":"n","Metrics":[{"Name":"m"}]}`, `,"m":[`+list(101, "1")+`]`),
		"101 metrics":        document(`{"Namespace":"n","Metrics":[`+list(101, `{"Name":"m"}`)+`]}`, `,"m":1`),
		"31 dimensions":      document(`{"Namespace":"n","Dimensions":[[`+list(31, `"a"`)+`]],"Metrics":[{"Name":"m"}]}`, `,"m":1,"a":"x"`),
		"a product of lists": document(`{"Namespace":"n","Dimensions":[`+list(11, `["a"]`)+`],"Metrics":[`+list(100, `{"Name":"m"}`)+`]}`, `,"m":1,"a":"x"`),
		"a sum of lists":     document(list(11, `{"Namespace":"n","Metrics":[`+list(100, `{"Name":"m"}`)+`]}`), `,"m":1`),
		"depth":              `{"_aws":` + strings.Repeat("[", 100_000),
	} {
		if got, err := Parse(line); err == nil {
			t.Errorf("%s: %d points", what, len(got))
		}
	}
}

// A line that is no document must cost little: it is asked of every line that a function writes.
func TestLooks(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "hello", `{"level":"INFO"}`, ` "_aws"`} {
		if Looks(line) {
			t.Errorf("%q looks like a document", line)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document(`{"Namespace":"n","Dimensions":[["a"]],"Metrics":[{"Name":"m"}]}`, `,"m":[1,2],"a":"x"`))
	f.Fuzz(func(t *testing.T, line string) {
		points, err := Parse(line)
		if err != nil {
			return
		}
		for _, p := range points {
			if p.Namespace == "" || p.Name == "" || p.Unit == "" || len(p.Values) == 0 || len(p.Values) > MaxValues || len(p.Dimensions) > MaxDimensions {
				t.Errorf("%+v", p)
			}
		}
	})
}
