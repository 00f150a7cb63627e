package mongotest

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// entry is one operation of the log.
type entry struct {
	time      bson.Timestamp
	ns        namespace
	operation string
	key       any    // _id
	full, set bson.D // of inserts and replacements; of updates
}

// cursor is an open change stream.
type cursor struct {
	ns          namespace // without coll: the whole database
	lookup      bool      // fullDocument: updateLookup
	after       bson.Timestamp
	invalidated bool // what follows is one invalidate event, and the end
	dropped     bson.Timestamp
}

func before(a, b bson.Timestamp) bool {
	return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.I, b.I)) < 0
}

// token is the resume token of the operation at a time. Those of an invalidate event end in one more byte.
func token(t bson.Timestamp, invalidate bool) bson.D {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{0x82}, t.T), t.I)
	if invalidate {
		b = append(b, 1)
	}
	return bson.D{{Key: "_data", Value: hex.EncodeToString(b)}}
}

func parseToken(v bson.RawValue) (t bson.Timestamp, invalidate, ok bool) {
	d, is := v.DocumentOK()
	if !is {
		return t, false, false
	}
	data, _ := d.Lookup("_data").StringValueOK()
	b, err := hex.DecodeString(data)
	if err != nil || len(b) < 9 {
		return t, false, false
	}
	return bson.Timestamp{T: binary.BigEndian.Uint32(b[1:]), I: binary.BigEndian.Uint32(b[5:])}, len(b) > 9, true
}

// watch opens a change stream: an aggregate with $changeStream as its only stage.
func (s *session) watch(ns namespace, command bson.Raw) bson.D {
	stages, _ := command.Lookup("pipeline").ArrayOK()
	values, err := stages.Values()
	if err != nil || len(values) != 1 {
		return failure(codeBadValue, "BadValue", "this server knows pipelines of one stage, $changeStream")
	}
	stage, _ := values[0].DocumentOK()
	o, is := stage.Lookup("$changeStream").DocumentOK()
	if !is {
		return failure(codeBadValue, "BadValue", "this server knows no other stage than $changeStream")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full, _ := o.Lookup("fullDocument").StringValueOK()
	c := &cursor{ns: ns, lookup: full == "updateLookup", after: s.last}
	for _, name := range []string{"resumeAfter", "startAfter"} {
		v, err := o.LookupErr(name)
		if err != nil {
			continue
		}
		t, invalidate, ok := parseToken(v)
		switch {
		case !ok:
			return failure(codeTypeMismatch, "TypeMismatch", name+" is not a resume token")
		case invalidate && name == "resumeAfter":
			return failure(260, "InvalidResumeToken", "Attempting to resume a change stream using 'resumeAfter' is not allowed from an invalidate notification.")
		case before(t, s.cut):
			return historyLost()
		}
		c.after = t
	}
	if v, err := o.LookupErr("startAtOperationTime"); err == nil {
		seconds, increment, ok := v.TimestampOK()
		if !ok {
			return failure(codeTypeMismatch, "TypeMismatch", "startAtOperationTime is not a timestamp")
		}
		at := bson.Timestamp{T: seconds, I: increment}
		// The stream begins with this time itself. A log that begins later may have lost something.
		if !before(s.cut, at) && s.cut != (bson.Timestamp{}) || len(s.log) > 0 && before(at, s.log[0].time) {
			return historyLost()
		}
		c.after = bson.Timestamp{T: at.T, I: at.I - 1}
		if at.I == 0 {
			c.after = bson.Timestamp{T: at.T - 1, I: ^uint32(0)}
		}
	}
	id := s.next
	s.next++
	s.cursors[id] = c
	limit := 101
	if d, ok := command.Lookup("cursor").DocumentOK(); ok {
		if n, ok := d.Lookup("batchSize").AsInt64OK(); ok {
			limit = int(n)
		}
	}
	return s.batch(id, c, "firstBatch", s.take(c, limit))
}

func historyLost() bson.D {
	return failure(codeHistoryLost, "ChangeStreamHistoryLost", "Resume of change stream was not possible, as the resume point may no longer be in the oplog.", "NonResumableChangeStreamError")
}

func (s *Server) batch(id int64, c *cursor, name string, events []bson.D) bson.D {
	if c.invalidated && len(events) > 0 && field(events[len(events)-1], "operationType") == "invalidate" {
		delete(s.cursors, id)
		id = 0
	}
	last := token(c.after, false)
	if len(events) > 0 {
		last, _ = field(events[len(events)-1], "_id").(bson.D)
	}
	if events == nil {
		events = []bson.D{}
	}
	coll := c.ns.coll
	if coll == "" {
		coll = "$cmd.aggregate"
	}
	return success(bson.E{Key: "cursor", Value: bson.D{
		{Key: "id", Value: id}, {Key: "ns", Value: c.ns.db + "." + coll}, {Key: name, Value: events}, {Key: "postBatchResumeToken", Value: last},
	}}, bson.E{Key: "operationTime", Value: s.last})
}

// take gives the next events of a stream.
func (s *Server) take(c *cursor, limit int) []bson.D {
	var all []bson.D
	if c.invalidated {
		return []bson.D{{{Key: "_id", Value: token(c.dropped, true)}, {Key: "operationType", Value: "invalidate"}, {Key: "clusterTime", Value: c.dropped}}}
	}
	from, _ := slices.BinarySearchFunc(s.log, c.after, func(e entry, t bson.Timestamp) int {
		if before(t, e.time) {
			return 1
		}
		return -1
	})
	for _, e := range s.log[from:] {
		if len(all) == limit {
			return all
		}
		c.after = e.time
		if e.ns.db != c.ns.db || c.ns.coll != "" && e.ns.coll != c.ns.coll {
			continue
		}
		all = append(all, s.event(c, e))
		if e.operation == "drop" && c.ns.coll != "" {
			c.invalidated, c.dropped = true, e.time
			return all
		}
	}
	return all
}

// event is an operation as a change stream shows it. Source: MongoDB's manual, change events.
func (s *Server) event(c *cursor, e entry) bson.D {
	d := bson.D{{Key: "_id", Value: token(e.time, false)}, {Key: "clusterTime", Value: e.time}}
	if e.key != nil {
		d = append(d, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: e.key}}})
	}
	switch {
	case e.full != nil:
		d = append(d, bson.E{Key: "fullDocument", Value: e.full})
	case e.operation == "update" && c.lookup:
		var now any // null, if somebody has deleted it meanwhile
		if i := s.first(e.ns, bson.D{{Key: "_id", Value: e.key}}); i >= 0 {
			now = s.data[e.ns][i]
		}
		d = append(d, bson.E{Key: "fullDocument", Value: now})
	}
	d = append(d, bson.E{Key: "ns", Value: bson.D{{Key: "db", Value: e.ns.db}, {Key: "coll", Value: e.ns.coll}}}, bson.E{Key: "operationType", Value: e.operation})
	if e.set != nil {
		d = append(d, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: e.set}, {Key: "removedFields", Value: bson.A{}}}})
	}
	return d
}

// getMore waits for events as long as the client said, a second if it said nothing.
func (s *session) getMore(command bson.Raw) bson.D {
	id, _ := command.Lookup("getMore").Int64OK()
	wait := time.Second
	if ms, ok := command.Lookup("maxTimeMS").AsInt64OK(); ok {
		wait = time.Duration(ms) * time.Millisecond
	}
	if s.o.Await > 0 {
		wait = min(wait, s.o.Await)
	}
	limit := 1 << 20
	if n, ok := command.Lookup("batchSize").AsInt64OK(); ok && n > 0 {
		limit = int(n)
	}
	ctx, cancel := context.WithTimeout(s.gone, wait)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.mu.Lock(); s.changed.Broadcast(); s.mu.Unlock() })()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		c := s.cursors[id]
		if c == nil {
			return failure(codeCursorNotFound, "CursorNotFound", "cursor id not found")
		}
		if s.gone.Err() != nil { // a client that goes away while it waits has done with the stream
			delete(s.cursors, id)
			return failure(codeInterrupted, "ClientDisconnect", "operation was interrupted because a client disconnected")
		}
		if events := s.take(c, limit); len(events) > 0 || ctx.Err() != nil || s.down {
			return s.batch(id, c, "nextBatch", events)
		}
		s.changed.Wait()
	}
}

func (s *session) killCursors(command bson.Raw) bson.D {
	ids, _ := command.Lookup("cursors").ArrayOK()
	values, _ := ids.Values()
	s.mu.Lock()
	defer s.mu.Unlock()
	killed := bson.A{}
	for _, v := range values {
		if id, ok := v.Int64OK(); ok && s.cursors[id] != nil {
			delete(s.cursors, id)
			killed = append(killed, id)
		}
	}
	s.changed.Broadcast()
	return success(bson.E{Key: "cursorsKilled", Value: killed}, bson.E{Key: "cursorsNotFound", Value: bson.A{}},
		bson.E{Key: "cursorsAlive", Value: bson.A{}}, bson.E{Key: "cursorsUnknown", Value: bson.A{}})
}
