// Package emf reads CloudWatch's Embedded Metric Format: a line of a log, one JSON object, whose member _aws says which of
// its other members are metrics. Functions write such lines, so what is read here may be an enemy's: everything is bounded.
// Source: CloudWatch User Guide, "Specification: Embedded metric format".
package emf

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a document. Those of metrics, dimensions, values and names are AWS's; MaxPoints is ours: what one line can make
// is the product of three lists.
const (
	MaxMetrics    = 100 // of a directive
	MaxDimensions = 30  // of a set
	MaxValues     = 100 // of a metric
	MaxName       = 1024
	MaxPoints     = 1000
)

// Point is what one document says of one metric in one set of dimensions.
type Point struct {
	Namespace, Name, Unit string
	Dimensions            []Dimension // by name
	Values                []float64   // at least one
}

// Dimension is a name and its value, neither empty.
type Dimension struct{ Name, Value string }

// Looks says whether a line may be a document; most lines are none, and this costs them nearly nothing.
func Looks(line string) bool {
	return strings.HasPrefix(line, "{") && strings.Contains(line, `"_aws"`)
}

// directive is a member of CloudWatchMetrics.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []struct{ Name, Unit string }
}

// Parse returns what a document says. A metric or a dimension set whose members the document lacks is left out; anything
// else that is not as specified is an error, and nothing of the document counts.
func Parse(line string) ([]Point, error) {
	var root map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &root); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	var meta struct{ CloudWatchMetrics []directive }
	if err := json.Unmarshal(root["_aws"], &meta); err != nil {
		return nil, fmt.Errorf("_aws: %w", err)
	}
	if len(meta.CloudWatchMetrics) == 0 {
		return nil, errors.New("no CloudWatchMetrics")
	}
	var points []Point
	for _, d := range meta.CloudWatchMetrics {
		more, err := d.points(root)
		if err != nil {
			return nil, err
		}
		if points = append(points, more...); len(points) > MaxPoints {
			return nil, fmt.Errorf("more than %d metrics and sets of dimensions", MaxPoints)
		}
	}
	return points, nil
}

func (d directive) points(root map[string]json.RawMessage) ([]Point, error) {
	if !named(d.Namespace) || strings.HasPrefix(d.Namespace, ":") {
		return nil, errors.New("a namespace: 1 to 1024 characters, the first of them no colon")
	}
	if len(d.Metrics) > MaxMetrics {
		return nil, fmt.Errorf("more than %d metrics", MaxMetrics)
	}
	if len(d.Metrics)*len(d.Dimensions) > MaxPoints {
		return nil, fmt.Errorf("more than %d metrics and sets of dimensions", MaxPoints)
	}
	sets, err := d.sets(root)
	if err != nil {
		return nil, err
	}
	var points []Point
	for _, m := range d.Metrics {
		if !named(m.Name) {
			return nil, errors.New("a metric's Name: 1 to 1024 characters")
		}
		if m.Unit == "" {
			m.Unit = "None"
		}
		if !slices.Contains(units, m.Unit) {
			return nil, fmt.Errorf("no unit: %.40q", m.Unit)
		}
		values, err := valuesOf(root[m.Name])
		if err != nil {
			return nil, err
		}
		if len(values) == 0 {
			continue
		}
		for _, set := range sets {
			points = append(points, Point{d.Namespace, m.Name, m.Unit, set, values})
		}
	}
	return points, nil
}

// sets are the sets of dimensions that the document has values for; the empty one where it names none.
func (d directive) sets(root map[string]json.RawMessage) (sets [][]Dimension, err error) {
	if len(d.Dimensions) == 0 {
		return [][]Dimension{nil}, nil
	}
	for _, names := range d.Dimensions {
		if len(names) > MaxDimensions {
			return nil, fmt.Errorf("more than %d dimensions in a set", MaxDimensions)
		}
		set := make([]Dimension, 0, len(names))
		for _, name := range names {
			var value string
			if !named(name) {
				return nil, errors.New("a dimension's name: 1 to 1024 characters")
			}
			raw, ok := root[name]
			if !ok {
				break
			}
			if err := json.Unmarshal(raw, &value); err != nil || len(value) > MaxName {
				return nil, errors.New("a dimension's value: a string of at most 1024 characters")
			}
			if value == "" {
				break
			}
			set = append(set, Dimension{name, value})
		}
		if len(set) < len(names) {
			continue
		}
		slices.SortFunc(set, func(a, b Dimension) int { return strings.Compare(a.Name, b.Name) })
		sets = append(sets, slices.Compact(set))
	}
	return sets, nil
}

// valuesOf reads a number or a list of numbers; none when the document has none.
func valuesOf(raw json.RawMessage) ([]float64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var values []float64
	if raw[0] != '[' {
		values = make([]float64, 1)
		if err := json.Unmarshal(raw, &values[0]); err != nil {
			return nil, errors.New("a metric's value: a number, or a list of numbers")
		}
		return values, nil
	}
	if err := json.Unmarshal(raw, &values); err != nil || len(values) > MaxValues {
		return nil, fmt.Errorf("a metric's values: at most %d numbers", MaxValues)
	}
	return values, nil
}

func named(s string) bool { return s != "" && len(s) <= MaxName }

// units of CloudWatch. Source: CloudWatch API reference, MetricDatum, Unit.
var units = []string{
	"Seconds", "Microseconds", "Milliseconds",
	"Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits", "Terabits",
	"Percent", "Count",
	"Bytes/Second", "Kilobytes/Second", "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second",
	"Bits/Second", "Kilobits/Second", "Megabits/Second", "Gigabits/Second", "Terabits/Second",
	"Count/Second", "None",
}
