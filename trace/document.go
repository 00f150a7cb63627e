package trace

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// document is a segment, or a subsegment, as X-Ray has it. Members that say nothing are left out.
// Source: X-Ray Developer Guide, Segment documents.
type document struct {
	Name        string          `json:"name"`
	ID          string          `json:"id"`
	TraceID     string          `json:"trace_id,omitempty"`
	ParentID    string          `json:"parent_id,omitempty"`
	Start       seconds         `json:"start_time"`
	End         *seconds        `json:"end_time,omitempty"`
	InProgress  bool            `json:"in_progress,omitempty"`
	HTTP        *httpBlock      `json:"http,omitempty"`
	Error       bool            `json:"error,omitempty"`
	Fault       bool            `json:"fault,omitempty"`
	Throttle    bool            `json:"throttle,omitempty"`
	Cause       json.RawMessage `json:"cause,omitempty"`
	AWS         *awsBlock       `json:"aws,omitempty"`
	Origin      Origin          `json:"origin,omitempty"`
	ResourceARN string          `json:"resource_arn,omitempty"`
	Subsegments []document      `json:"subsegments,omitempty"`
}

type httpBlock struct {
	Response struct {
		Status int `json:"status"`
	} `json:"response"`
}

type awsBlock struct {
	AccountID     string   `json:"account_id,omitempty"`
	FunctionARN   string   `json:"function_arn,omitempty"`
	ResourceNames []string `json:"resource_names,omitempty"`
	RequestID     string   `json:"request_id,omitempty"`
}

// seconds is a time as X-Ray has it: Unix seconds, to the microsecond.
type seconds time.Time

func (s seconds) MarshalJSON() ([]byte, error) {
	us := time.Time(s).UnixMicro()
	return strconv.AppendFloat(nil, math.Round(float64(us))/1e6, 'f', 6, 64), nil
}

// MaxDatagram is the most that a daemon of X-Ray takes. Source: X-Ray Developer Guide, daemon: 64 KB; UDP over IPv4 carries
// 65,507 bytes.
const MaxDatagram = 65_507

// datagramHead comes before every document. Source: X-Ray Developer Guide, Sending segment documents to the daemon.
const datagramHead = `{"format":"json","version":1}` + "\n"

// Datagram is the segment for a daemon of X-Ray.
func (s *Segment) Datagram() ([]byte, error) {
	d := s.document()
	b, err := d.datagram()
	if err == nil && len(b) > MaxDatagram { // the runtime's word is the only part without a bound
		for i := range d.Subsegments {
			d.Subsegments[i].Cause = nil
		}
		d.Cause = nil
		b, err = d.datagram()
	}
	if err == nil && len(b) > MaxDatagram {
		err = fmt.Errorf("segment of %d bytes is larger than a datagram", len(b))
	}
	return b, err
}

func (d *document) datagram() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	return append([]byte(datagramHead), b...), nil
}

func (s *Segment) document() *document {
	d := &document{Name: s.Of.Name, ID: s.ID, TraceID: s.Root, ParentID: s.Parent, Start: seconds(s.Begin), InProgress: s.Open, Origin: s.Origin}
	if !s.Open {
		end := seconds(s.End)
		d.End = &end
	}
	d.fated(s.Fate)
	if s.Origin == Service {
		d.AWS, d.ResourceARN = &awsBlock{RequestID: s.Of.RequestID}, s.Of.ARN
	} else {
		d.AWS = &awsBlock{AccountID: s.Of.Account, FunctionARN: s.Of.ARN, ResourceNames: []string{s.Of.Name}, RequestID: s.Of.RequestID}
	}
	for _, p := range s.Parts {
		if p.Name == "" {
			continue
		}
		end := seconds(p.End)
		sub := document{Name: p.Name, ID: p.ID, Start: seconds(p.Begin), End: &end}
		if s.Origin == Function {
			sub.AWS = &awsBlock{FunctionARN: s.Of.ARN}
		}
		sub.fated(p.Fate)
		d.Subsegments = append(d.Subsegments, sub)
	}
	return d
}

func (d *document) fated(f Fate) {
	d.Error, d.Fault, d.Throttle, d.Cause = f.Error, f.Fault, f.Throttled, f.Cause
	if f.Status != 0 {
		d.HTTP = &httpBlock{}
		d.HTTP.Response.Status = f.Status
	}
	if d.Cause == nil && f.ErrorType != "" {
		type exception struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		}
		// Two strings: this cannot fail.
		d.Cause, _ = json.Marshal(map[string][]exception{"exceptions": {{partID(d.ID, "exception"), f.ErrorType}}}) //nolint:errchkjson // above
	}
}

// Check says what is wrong with a datagram that came from a sandbox. Who sent it may be an enemy: a daemon gets from here
// nothing but a document of X-Ray behind the line that says so.
func Check(datagram []byte) error {
	if len(datagram) > MaxDatagram {
		return fmt.Errorf("%d bytes are no datagram", len(datagram))
	}
	head, body := cutLine(datagram)
	var h struct {
		Format  string
		Version int
	}
	if err := json.Unmarshal(head, &h); err != nil || h.Format != "json" || h.Version != 1 {
		return fmt.Errorf("no datagram of X-Ray: %.40q", head)
	}
	if !isObject(body) {
		return fmt.Errorf("no segment document")
	}
	return nil
}

func cutLine(b []byte) (line, rest []byte) {
	for i, c := range b {
		if c == '\n' {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

func isObject(b []byte) bool {
	for i, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
		case '{':
			return json.Valid(b[i:])
		default:
			return false
		}
	}
	return false
}
