package platform

import "time"

// Encoded is an event as it travels to the guest: its JSON form. That is the record of most schemas already, so most
// subscribers get it without anybody unpacking it: the guest has little time.
type Encoded struct {
	Name string // of the event's type
	JSON []byte
}

// Type implements Event.
func (x Encoded) Type() string { return x.Name }

func (x Encoded) level() Level {
	if e, err := Decode(x.Name, x.JSON); err == nil {
		return e.level()
	}
	return Info
}

// records renders it for a subscriber. What cannot be unpacked has none: the server that made it is of the same build.
func (x Encoded) records(s Schema, at time.Time) [][]byte {
	if x.isRecord(s) {
		b := make([]byte, 0, len(`{"time":"","type":"","record":}`)+len(stampForm)+len(x.Name)+len(x.JSON))
		b = time.Time(at).UTC().AppendFormat(append(b, `{"time":"`...), stampForm)
		b = append(append(b, `","type":"`...), x.Name...)
		b = append(append(b, `","record":`...), x.JSON...)
		return [][]byte{append(b, '}')}
	}
	e, err := Decode(x.Name, x.JSON)
	if err != nil {
		return nil
	}
	return Records(s, at, e)
}

// isRecord says whether the JSON form is the record of a schema.
func (x Encoded) isRecord(s Schema) bool {
	if notTelemetry[x.Name] {
		return false
	}
	return s == Telemetry2022December || s == Telemetry2025 || s == Telemetry2022July && x.Name != InitReport{}.Type()
}
