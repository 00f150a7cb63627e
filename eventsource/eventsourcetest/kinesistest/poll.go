package kinesistest

import (
	"encoding/json"
	"net/http"
)

// place is what an iterator says.
type place struct {
	Shard    string
	From     position
	Returned int // records of the shard that come before it
}

// iterator answers GetShardIterator.
func (st *Stream) iterator(w http.ResponseWriter, id string, from position) {
	st.s.mu.Lock()
	known := st.findLocked(id) != nil
	st.s.mu.Unlock()
	if !known {
		fail(w, http.StatusBadRequest, "ResourceNotFoundException")
		return
	}
	answer(w, map[string]string{"ShardIterator": place{Shard: id, From: from}.String()})
}

func (p place) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}

// get answers GetRecords.
func (st *Stream) get(w http.ResponseWriter, iterator string, limit int) {
	var p place
	if err := json.Unmarshal([]byte(iterator), &p); err != nil {
		fail(w, http.StatusBadRequest, "InvalidArgumentException")
		return
	}
	st.s.mu.Lock()
	sh := st.findLocked(p.Shard)
	if sh == nil {
		st.s.mu.Unlock()
		fail(w, http.StatusBadRequest, "ResourceNotFoundException")
		return
	}
	page := []record{}
	for ; p.Returned < len(sh.records) && len(page) < limit; p.Returned++ {
		if r := sh.records[p.Returned]; !p.From.before(r) {
			page = append(page, r)
		}
	}
	out := map[string]any{"Records": page, "MillisBehindLatest": 0}
	if p.Returned < len(sh.records) || sh.children == nil {
		out["NextShardIterator"] = p.String()
	}
	st.s.mu.Unlock()
	answer(w, out)
}
