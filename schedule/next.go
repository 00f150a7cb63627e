package schedule

import "time"

// next is the first date and time of day behind after that the expression names. Both are in UTC and stand for those of
// any zone. false: there is none.
func (c *cron) next(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Minute).Add(time.Minute)
	y, month, day := t.Date()
	if y < firstYear {
		y, month, day, t = firstYear, time.January, 1, time.Date(firstYear, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	h, m := t.Hour(), t.Minute()
	for ; y <= lastYear; y, month, day, h, m = y+1, time.January, 1, 0, 0 {
		if !c.years.has(y - firstYear) {
			continue
		}
		for ; month <= time.December; month, day, h, m = month+1, 1, 0, 0 {
			if !c.months.has(int(month)) {
				continue
			}
			in := c.days.in(y, month)
			for last := length(y, month); day <= last; day, h, m = day+1, 0, 0 {
				if !in.has(day) {
					continue
				}
				for ; h < 24; h, m = h+1, 0 {
					if !c.hours.has(h) {
						continue
					}
					for ; m < 60; m++ {
						if c.minutes.has(m) {
							return time.Date(y, month, day, h, m, 0, 0, time.UTC), true
						}
					}
				}
			}
		}
	}
	return time.Time{}, false
}

// length is how many days a month has.
func length(y int, m time.Month) int { return time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// in are the days of one month.
func (d *days) in(y int, m time.Month) (s set) {
	last := length(y, m)
	first := int(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Weekday())
	weekday := func(day int) int { return (first + day - 1) % 7 }
	switch d.form {
	case lastDay:
		if last-d.k >= 1 {
			s.add(last - d.k)
		}
	case lastWeekday:
		s.add(nearest(last, last, weekday(last)))
	case nearWeekday:
		if d.n <= last {
			s.add(nearest(d.n, last, weekday(d.n)))
		}
	case lastOfWeek:
		s.add(last - (weekday(last)-d.n+7)%7)
	case kthOfWeek:
		if day := 1 + (d.n-first+7)%7 + 7*(d.k-1); day <= last {
			s.add(day)
		}
	default:
		for day := 1; day <= last; day++ {
			if d.week && d.of.has(weekday(day)) || !d.week && d.of.has(day) {
				s.add(day)
			}
		}
	}
	return s
}

// nearest is the day from Monday to Friday that is nearest to one, and in the same month.
func nearest(day, last, weekday int) int {
	switch {
	case weekday == int(time.Saturday) && day > 1:
		return day - 1
	case weekday == int(time.Saturday):
		return day + 2
	case weekday == int(time.Sunday) && day < last:
		return day + 1
	case weekday == int(time.Sunday):
		return day - 2
	}
	return day
}
