package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The years that there are. Source: EventBridge User Guide.
const firstYear, lastYear = 1970, 2199

// set is a set of small numbers; that of years counts from firstYear on.
type set [4]uint64

func (s *set) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s *set) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

// cron is an expression of six fields.
type cron struct {
	minutes, hours, months, years set
	days                          days
}

// days are the days of a month: what one of the two fields for days says, the other being "?".
type days struct {
	of   set // days of the month, or of the week from 0, Sunday
	week bool
	// One of the special forms, instead of the set.
	form form
	n    int // day of the month, or of the week
	k    int // which one of the month; before the last one
}

type form uint8

const (
	anyOf       form = iota // the set
	lastDay                 // L, L-3: k days before the last of the month
	lastWeekday             // LW: the last day of the month from Monday to Friday
	nearWeekday             // 15W: the day from Monday to Friday that is nearest to n, in the same month
	lastOfWeek              // 6L: the last n of the month
	kthOfWeek               // 6#3: the k-th n of the month
)

var (
	monthNames = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// field is what one of the six may hold.
type field struct {
	what      string
	low, high int
	names     []string // of low, low+1 ...
	straight  bool     // a range does not go round
}

var (
	minuteField = field{what: "minutes", low: 0, high: 59}
	hourField   = field{what: "hours", low: 0, high: 23}
	dayField    = field{what: "day of the month", low: 1, high: 31}
	monthField  = field{what: "month", low: 1, high: 12, names: monthNames}
	weekField   = field{what: "day of the week", low: 1, high: 7, names: dayNames}
	yearField   = field{what: "year", low: firstYear, high: lastYear, straight: true}
)

func parseCron(s string) (*cron, error) {
	f := strings.Fields(s)
	if len(f) != 6 {
		return nil, fmt.Errorf("cron takes six fields, minutes, hours, day of the month, month, day of the week and year: there are %d", len(f))
	}
	if (f[2] == "?") == (f[4] == "?") {
		return nil, errors.New("exactly one of day of the month and day of the week must be ?")
	}
	c := &cron{}
	for _, p := range []struct {
		field
		text string
		into *set
	}{{minuteField, f[0], &c.minutes}, {hourField, f[1], &c.hours}, {monthField, f[3], &c.months}, {yearField, f[5], &c.years}} {
		if err := p.read(p.text, 0, p.into); err != nil {
			return nil, err
		}
	}
	return c, c.days.read(f[2], f[4])
}

func (d *days) read(month, week string) error {
	if week != "?" {
		d.week = true
		return d.readWeek(strings.ToUpper(week))
	}
	return d.readMonth(strings.ToUpper(month))
}

func (d *days) readMonth(s string) error {
	switch {
	case s == "L":
		d.form = lastDay
		return nil
	case s == "LW":
		d.form = lastWeekday
		return nil
	case strings.HasPrefix(s, "L-"):
		d.form = lastDay
		var err error
		d.k, err = dayField.number(s[2:])
		return err
	case strings.HasSuffix(s, "W"):
		d.form = nearWeekday
		var err error
		d.n, err = dayField.number(strings.TrimSuffix(s, "W"))
		return err
	}
	return dayField.read(s, 0, &d.of)
}

func (d *days) readWeek(s string) error {
	if s == "L" { // the last of a week
		d.of.add(int(time.Saturday))
		return nil
	}
	if day, k, ok := strings.Cut(s, "#"); ok {
		n, err := weekField.number(day)
		if err != nil {
			return err
		}
		d.form, d.n = kthOfWeek, n-1
		if d.k, err = strconv.Atoi(k); err != nil || d.k < 1 || d.k > 5 || len(k) > 1 {
			return errors.New("what stands behind # is 1 to 5, and there is one # at most")
		}
		return nil
	}
	if day, ok := strings.CutSuffix(s, "L"); ok {
		n, err := weekField.number(day)
		d.form, d.n = lastOfWeek, n-1
		return err
	}
	return weekField.read(s, 1, &d.of)
}

// read reads a list of values, ranges and steps into a set, whose member 0 is base; of years it is firstYear.
func (f field) read(s string, base int, into *set) error {
	if f.low == firstYear {
		base = firstYear
	}
	for item := range strings.SplitSeq(s, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			var err error
			if step, err = digits(stepText); err != nil || step < 1 || step > f.high {
				return fmt.Errorf("%s: the step %q is not a number from 1 to %d", f.what, stepText, f.high)
			}
		}
		low, high, err := f.span(span, stepped)
		if err != nil {
			return err
		}
		if high < low {
			if f.straight {
				return fmt.Errorf("%s: %q ends before it begins", f.what, item)
			}
			high += f.high - f.low + 1
		}
		for n := low; n <= high; n += step {
			into.add((n-f.low)%(f.high-f.low+1) + f.low - base)
		}
	}
	return nil
}

func (f field) span(s string, stepped bool) (low, high int, err error) {
	if s == "*" {
		return f.low, f.high, nil
	}
	from, to, ranged := strings.Cut(s, "-")
	if low, err = f.number(from); err != nil {
		return 0, 0, err
	}
	switch {
	case ranged:
		high, err = f.number(to)
	case stepped: // from there on
		high = f.high
	default:
		high = low
	}
	return low, high, err
}

func (f field) number(s string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.low + i, nil
		}
	}
	n, err := digits(s)
	if err != nil || n < f.low || n > f.high {
		return 0, fmt.Errorf("%s: %q is not from %d to %d", f.what, s, f.low, f.high)
	}
	return n, nil
}

// digits is strconv.Atoi without signs.
func digits(s string) (int, error) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(s)
}
