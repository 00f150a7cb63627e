package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Dialect is whose expressions are read.
type Dialect uint8

// The dialects: rules take no at, and want "1 minute" and "2 minutes"; Scheduler takes both of both.
const (
	Rules Dialect = iota
	Scheduler
)

// Expression is a schedule expression. It does not change: any number of goroutines may use it.
type Expression struct {
	text  string
	every time.Duration // of rate; else 0
	cron  *cron         // of cron; else nil
	once  time.Time     // of at, whose date and time of day are those of a zone that is not known yet; UTC
}

// String is the expression as it was written.
func (e *Expression) String() string { return e.text }

// Once says that there is one time at most: at.
func (e *Expression) Once() bool { return !e.once.IsZero() }

// Every is the distance between two times of a rate; 0: it is none.
func (e *Expression) Every() time.Duration { return e.every }

// Parse reads an expression. The error says what is wrong with it, for people.
func Parse(text string, d Dialect) (*Expression, error) {
	name, rest, ok := strings.Cut(text, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return nil, fmt.Errorf("%q is neither rate(value unit) nor cron(fields)%s", text, atToo(d))
	}
	e := &Expression{text: text}
	var err error
	switch {
	case name == "rate":
		e.every, err = parseRate(inner, d)
	case name == "cron":
		e.cron, err = parseCron(inner)
	case name == "at" && d == Scheduler:
		if e.once, err = time.Parse("2006-01-02T15:04:05", inner); err != nil {
			err = errors.New("at takes yyyy-mm-ddThh:mm:ss")
		}
	default:
		err = fmt.Errorf("%q is neither rate nor cron%s", name, atToo(d))
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func atToo(d Dialect) string {
	if d == Scheduler {
		return ", nor at(yyyy-mm-ddThh:mm:ss)"
	}
	return ""
}

// maxRate keeps a rate, counted in nanoseconds, within its type, and sums of times with it.
const maxRate = 100 * 366 * 24 * time.Hour

func parseRate(s string, d Dialect) (time.Duration, error) {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return 0, errors.New("rate takes a value and a unit: rate(5 minutes)")
	}
	n, err := strconv.ParseInt(fields[0], 10, 32)
	if err != nil || n <= 0 || fields[0][0] == '+' {
		return 0, errors.New("the value of rate is a whole number above 0")
	}
	unit, plural := strings.CutSuffix(fields[1], "s")
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	if units[unit] == 0 {
		return 0, errors.New("the unit of rate is minutes, hours or days")
	}
	if d == Rules && plural != (n > 1) {
		return 0, errors.New("the unit of rate has an s exactly if the value is above 1")
	}
	if n > int64(maxRate/units[unit]) {
		return 0, errors.New("the value of rate is too large")
	}
	return time.Duration(n) * units[unit], nil
}
