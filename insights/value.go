package insights

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

// value is a text, a number, a time, or not present.
type value struct {
	present bool
	text    string
	number  float64
	isNum   bool // number holds it; text may be empty
	isTime  bool // number is Unix milliseconds
}

func textOf(s string) value    { return value{present: true, text: s} }
func numberOf(n float64) value { return value{present: true, number: n, isNum: true} }
func timeOf(ms float64) value  { return value{present: true, number: ms, isNum: true, isTime: true} }
func truthOf(b bool) value     { return numberOf(map[bool]float64{true: 1}[b]) }
func (v value) truth() bool {
	n, ok := v.num()
	return v.present && (!ok && v.text != "" || ok && n != 0)
}
func rounded(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
func timeText(ms float64) string {
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02 15:04:05.000")
}
func digits(n float64) float64 { return math.Round(n*1e4) / 1e4 }
func isWhole(n float64) bool   { return n == math.Trunc(n) && math.Abs(n) < 1e15 }

// String is the value as rows show it. Numbers have four digits behind the point at most.
func (v value) String() string {
	switch {
	case v.isTime:
		return timeText(v.number)
	case v.isNum && v.text == "" && isWhole(v.number):
		return rounded(v.number)
	case v.isNum && v.text == "":
		return rounded(digits(v.number))
	}
	return v.text
}

// num is the value as a number, if it is one.
func (v value) num() (float64, bool) {
	if v.isNum || !v.present {
		return v.number, v.isNum
	}
	s := strings.TrimSpace(v.text)
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// compare orders values: those that are not present, numbers, texts.
func compare(a, b value) int {
	an, aIs := a.num()
	bn, bIs := b.num()
	rank := func(v value, num bool) int {
		switch {
		case !v.present:
			return 0
		case num:
			return 1
		}
		return 2
	}
	if c := cmp.Compare(rank(a, aIs), rank(b, bIs)); c != 0 {
		return c
	}
	if aIs {
		return cmp.Compare(an, bn)
	}
	return strings.Compare(a.String(), b.String())
}
