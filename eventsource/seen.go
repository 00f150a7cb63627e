package eventsource

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// WrongRecordError says why a text is no record of a kind of source as handlers see it.
type WrongRecordError struct{ Message string }

func (e *WrongRecordError) Error() string { return e.Message }

// RecordsOf are the records of an event as a handler sees it, in order; those of several topics or queues by the names
// of these. A text that is one record is that record. *WrongRecordError.
func RecordsOf(event []byte) ([]json.RawMessage, error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(event, &o); err != nil || o == nil {
		return nil, &WrongRecordError{"it is no JSON object"}
	}
	for _, name := range []string{"Records", "records", "messages", "events", "rmqMessagesByQueue"} {
		inner, ok := o[name]
		if !ok {
			continue
		}
		var list []json.RawMessage
		if json.Unmarshal(inner, &list) == nil {
			return list, nil
		}
		var groups map[string][]json.RawMessage
		if json.Unmarshal(inner, &groups) != nil {
			return nil, &WrongRecordError{name + " is neither an array nor an object of arrays"}
		}
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			list = append(list, groups[group]...)
		}
		return list, nil
	}
	return []json.RawMessage{event}, nil
}

// kafkaMeta are the members of a record of Kafka that filters see beside key and value.
var kafkaMeta = []string{"topic", "partition", "offset", "timestamp", "timestampType"}

// FilteredOf is a record as filters see it, of the record as handlers see it: what a source's own Record.Filtered gives.
// *WrongRecordError.
func FilteredOf(k Kind, record []byte) (f Filtered, err error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(record, &o); err != nil || o == nil {
		return f, &WrongRecordError{"it is no JSON object"}
	}
	must, encoded := "", true
	switch k {
	case SQS:
		must, encoded = "body", false
	case Kinesis:
		must = "kinesis"
	case DynamoDB:
		must = "dynamodb"
	case MSK, SelfManagedKafka:
		must = "topic"
	case ActiveMQ, RabbitMQ:
		must = "data"
	case DocumentDB:
		must = "event"
	}
	if _, ok := o[must]; !ok {
		return f, &WrongRecordError{fmt.Sprintf("it has no member %s, which a record of %s has in an event of its function", must, k)}
	}
	switch k {
	case Kinesis:
		var inner map[string]json.RawMessage
		if json.Unmarshal(o["kinesis"], &inner) != nil || inner == nil {
			return f, &WrongRecordError{"kinesis is no object"}
		}
		delete(o, "kinesis")
		maps.Copy(o, inner)
	case MSK, SelfManagedKafka:
		maps.DeleteFunc(o, func(name string, _ json.RawMessage) bool {
			return name != "key" && name != "value" && !slices.Contains(kafkaMeta, name)
		})
	}
	for _, name := range traits[k].Data {
		text, ok := o[name]
		delete(o, name)
		if !ok || string(text) == "null" {
			continue
		}
		d := Datum{Name: name}
		if d.Bytes, err = data(text, encoded); err != nil {
			return f, &WrongRecordError{name + " " + err.Error()}
		}
		f.Data = append(f.Data, d)
	}
	f.Meta, err = json.Marshal(o)
	return f, err
}

// data reads a member that is text, or bytes in base64.
func data(text json.RawMessage, encoded bool) ([]byte, error) {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return nil, errors.New("is no string")
	}
	if !encoded {
		return []byte(s), nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("is not in base64, as handlers get it; encode it by: base64 -w0")
	}
	return b, nil
}
