package eventsource

import (
	"bytes"
	"encoding/json"
)

// reported reads a partial answer: which records of the batch have failed. ok is false for an answer that fails the whole
// batch. Source: section 1.5.
func reported(answer []byte, batch []*Record, t Traits) (failed map[*Record]bool, ok bool) {
	answer = bytes.TrimSpace(answer)
	switch string(answer) {
	case "", "null", `""`, "[]":
		return nil, true
	}
	var a struct {
		Failures json.RawMessage `json:"batchItemFailures"`
	}
	if answer[0] != '{' || json.Unmarshal(answer, &a) != nil {
		return nil, false
	}
	if len(a.Failures) == 0 || string(a.Failures) == "null" {
		return nil, true
	}
	var items []struct {
		ID json.RawMessage `json:"itemIdentifier"`
	}
	if json.Unmarshal(a.Failures, &items) != nil {
		return nil, false
	}
	identify := t.Identify
	if identify == nil {
		identify = textID
	}
	failed = map[*Record]bool{}
	known := make(map[string]*Record, len(batch))
	for _, r := range batch {
		known[r.ID] = r
	}
	for _, item := range items {
		id, ok := identify(item.ID)
		if r := known[id]; ok && r != nil {
			failed[r] = true
			continue
		}
		return nil, false
	}
	return failed, true
}

func textID(b json.RawMessage) (string, bool) {
	var id *string
	if json.Unmarshal(b, &id) != nil || id == nil || *id == "" {
		return "", false
	}
	return *id, true
}
