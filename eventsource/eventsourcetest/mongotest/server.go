package mongotest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Options say how a server is reached. The zero value: without TLS, and everybody may do everything.
type Options struct {
	Address        string // where it listens; empty: a free port of 127.0.0.1
	User, Password string // empty: no credentials are asked for
	TLS            *tls.Config
	// NoLog refuses to show the log of operations (local.oplog.rs), as servers do to most users, and DocumentDB to all.
	NoLog bool
	Await time.Duration    // the most that a client is made to wait when there is nothing new; 0: as it says
	Now   func() time.Time // of the server's cluster time; nil: time.Now
}

// Server is a replica set of one member. Close ends it.
type Server struct {
	o       Options
	address string

	mu       sync.Mutex
	changed  *sync.Cond
	down     bool
	listener net.Listener
	conns    map[net.Conn]struct{}
	data     map[namespace][]bson.D
	log      []entry        // the operations, the oldest first
	cut      bson.Timestamp // the log once had operations up to this one, and has them no more
	last     bson.Timestamp
	cursors  map[int64]*cursor
	next     int64
	user     *credential
	running  sync.WaitGroup
}

type namespace struct{ db, coll string }

// Start starts a server.
func Start(o Options) (*Server, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, conns: map[net.Conn]struct{}{}, data: map[namespace][]bson.D{}, cursors: map[int64]*cursor{}, next: 1}
	s.changed = sync.NewCond(&s.mu)
	if o.User != "" {
		c, err := newCredential(o.User, o.Password)
		if err != nil {
			return nil, err
		}
		s.user = c
	}
	return s, s.listen(o.Address)
}

func (s *Server) listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address, s.listener, s.down = l.Addr().String(), l, false
	s.running.Go(func() { s.accept(l) })
	return nil
}

// Address is host and port.
func (s *Server) Address() string { return s.address }

// URI is what the driver connects to.
func (s *Server) URI() string {
	uri := "mongodb://" + s.address + "/?replicaSet=" + setName
	if s.o.TLS != nil {
		uri += "&tls=true"
	}
	return uri
}

// Stop ends the listener, all connections and cursors, as a server's death does. The data and the log stay.
func (s *Server) Stop() {
	s.mu.Lock()
	s.down = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.cursors)
	s.changed.Broadcast()
	s.mu.Unlock()
	s.running.Wait()
}

// Restart starts a stopped server at its address.
func (s *Server) Restart() error { return s.listen(s.address) }

// Close ends the server.
func (s *Server) Close() { s.Stop() }

// KillCursors ends all change streams, as the death of the member that served them does.
func (s *Server) KillCursors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.cursors)
	s.changed.Broadcast()
}

// Cursors is how many change streams are open.
func (s *Server) Cursors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursors)
}

// CutLog drops all operations so far from the log: whoever has not read them cannot any more.
func (s *Server) CutLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.cut = nil, s.last
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if s.o.TLS != nil {
			c = tls.Server(c, s.o.TLS)
		}
		s.mu.Lock()
		if s.down {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.running.Go(func() { s.serve(c) })
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.changed.Broadcast()
		s.mu.Unlock()
	}()
	session := &session{Server: s, signedIn: s.user == nil}
	// Each connection has one command at a time, so a command that waits sees its client go only here.
	requests := make(chan *request)
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	session.gone = ctx
	go func() {
		defer close(requests)
		defer gone()
		for r := bufio.NewReader(c); ; {
			q, err := readRequest(r)
			if err != nil {
				s.mu.Lock()
				s.changed.Broadcast()
				s.mu.Unlock()
				return
			}
			select {
			case requests <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	for q := range requests {
		b, err := q.answer(session.run(q))
		if err != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// clock gives an operation its cluster time: seconds, and a counter in each second.
func (s *Server) clock() bson.Timestamp {
	t := bson.Timestamp{T: uint32(s.o.Now().Unix()), I: 1}
	if t.T <= s.last.T {
		t = bson.Timestamp{T: s.last.T, I: s.last.I + 1}
	}
	s.last = t
	return t
}

var errDuplicate = errors.New("duplicate key")

// insert, and what follows it here, are called with the lock held.
func (s *Server) insert(ns namespace, doc bson.D) error {
	id := field(doc, "_id")
	if id == nil {
		id = bson.NewObjectID()
		doc = append(bson.D{{Key: "_id", Value: id}}, doc...)
	}
	if slices.ContainsFunc(s.data[ns], func(d bson.D) bool { return same(field(d, "_id"), id) }) {
		return errDuplicate
	}
	s.data[ns] = append(s.data[ns], doc)
	s.append(entry{ns: ns, operation: "insert", key: id, full: doc})
	return nil
}

func (s *Server) append(e entry) {
	e.time = s.clock()
	s.log = append(s.log, e)
	s.changed.Broadcast()
}

// Insert, Update, Delete and Drop do what the commands of the same names do, without a client.
func (s *Server) Insert(db, coll string, docs ...bson.D) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range docs {
		if err := s.insert(namespace{db, coll}, d); err != nil {
			return err
		}
	}
	return nil
}

// Drop drops a collection, which ends the change streams on it with an invalidate event.
func (s *Server) Drop(db, coll string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, namespace{db, coll})
	s.append(entry{ns: namespace{db, coll}, operation: "drop"})
}
