package mongotest

import (
	"bytes"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// write does one kind of write for each document of a command, and counts.
func (s *session) write(ns namespace, q *request, sequence string, one func(namespace, bson.Raw) (bool, error)) bson.D {
	docs := q.sequences[sequence]
	if a, ok := q.command.Lookup(sequence).ArrayOK(); ok {
		values, err := a.Values()
		if err != nil {
			return failure(codeBadValue, "BadValue", err.Error())
		}
		for _, v := range values {
			if d, is := v.DocumentOK(); is {
				docs = append(docs, d)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int32(0)
	for i, d := range docs {
		hit, err := one(ns, d)
		if errors.Is(err, errDuplicate) {
			return success(bson.E{Key: "n", Value: n}, bson.E{Key: "writeErrors", Value: bson.A{bson.D{
				{Key: "index", Value: int32(i)}, {Key: "code", Value: int32(codeDuplicateKey)}, {Key: "errmsg", Value: "E11000 duplicate key error"},
			}}})
		}
		if err != nil {
			return failure(codeBadValue, "BadValue", err.Error())
		}
		if hit {
			n++
		}
	}
	return success(bson.E{Key: "n", Value: n}, bson.E{Key: "nModified", Value: n})
}

func (s *session) insertOne(ns namespace, raw bson.Raw) (bool, error) {
	var d bson.D
	if err := bson.Unmarshal(raw, &d); err != nil {
		return false, err
	}
	return true, s.insert(ns, d)
}

// updateOne replaces the first document that has the members of q, or sets members with $set.
func (s *session) updateOne(ns namespace, raw bson.Raw) (bool, error) {
	var u struct{ Q, U bson.D }
	if err := bson.Unmarshal(raw, &u); err != nil {
		return false, err
	}
	i := s.first(ns, u.Q)
	if i < 0 {
		return false, nil
	}
	old := s.data[ns][i]
	id := field(old, "_id")
	if len(u.U) > 0 && u.U[0].Key[0] != '$' {
		d := append(bson.D{{Key: "_id", Value: id}}, without(u.U, "_id")...)
		s.data[ns][i] = d
		s.append(entry{ns: ns, operation: "replace", key: id, full: d})
		return true, nil
	}
	if len(u.U) != 1 || u.U[0].Key != "$set" {
		return false, errors.New("this server knows replacements and $set")
	}
	set, _ := u.U[0].Value.(bson.D)
	d := slices.Clone(old)
	for _, e := range set {
		d = append(without(d, e.Key), e)
	}
	s.data[ns][i] = d
	s.append(entry{ns: ns, operation: "update", key: id, set: set})
	return true, nil
}

func (s *session) deleteOne(ns namespace, raw bson.Raw) (bool, error) {
	var u struct{ Q bson.D }
	if err := bson.Unmarshal(raw, &u); err != nil {
		return false, err
	}
	i := s.first(ns, u.Q)
	if i < 0 {
		return false, nil
	}
	id := field(s.data[ns][i], "_id")
	s.data[ns] = slices.Delete(s.data[ns], i, i+1)
	s.append(entry{ns: ns, operation: "delete", key: id})
	return true, nil
}

func (s *Server) first(ns namespace, q bson.D) int {
	return slices.IndexFunc(s.data[ns], func(d bson.D) bool {
		return !slices.ContainsFunc(q, func(e bson.E) bool { return !same(field(d, e.Key), e.Value) })
	})
}

// find shows the log of operations and nothing else: of it, the first, which tells how far back a stream can begin.
func (s *session) find(ns namespace) bson.D {
	if ns != (namespace{"local", "oplog.rs"}) || s.o.NoLog {
		return failure(codeUnauthorized, "Unauthorized", "not authorized on "+ns.db+" to execute command find")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := bson.A{}
	if len(s.log) > 0 {
		first = bson.A{bson.D{{Key: "ts", Value: s.log[0].time}}}
	}
	return success(bson.E{Key: "cursor", Value: bson.D{
		{Key: "id", Value: int64(0)}, {Key: "ns", Value: "local.oplog.rs"}, {Key: "firstBatch", Value: first},
	}})
}

func field(d bson.D, name string) any {
	for _, e := range d {
		if e.Key == name {
			return e.Value
		}
	}
	return nil
}

func without(d bson.D, name string) bson.D {
	return slices.DeleteFunc(slices.Clone(d), func(e bson.E) bool { return e.Key == name })
}

func same(a, b any) bool {
	x, errX := bson.Marshal(bson.D{{Key: "v", Value: a}})
	y, errY := bson.Marshal(bson.D{{Key: "v", Value: b}})
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
