package kinesistest

import (
	"cmp"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server has streams.
type Server struct {
	URL  string
	Root string // PEM of what has signed its certificate

	// What subscriptions are given; set before the first.
	Lifetime  time.Duration // five minutes, of the service
	Heartbeat time.Duration // without records; five seconds

	http *httptest.Server

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when there is something for subscriptions
	sequence int
	streams  []*Stream
	calls    []Call
	refuse   []Refusal
	cut      int // how often Interrupt was called
	code     string
}

// Call is a SubscribeToShard.
type Call struct {
	ShardID  string
	Type     string
	Sequence string
	Proto    int // of HTTP: 2
}

// Refusal is how a call is answered instead.
type Refusal struct {
	Code   string // ResourceInUseException
	Status int    // of HTTP; 0: as an event, after initial-response
	Silent bool   // nothing comes at all
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := Start()
	t.Cleanup(s.Close)
	return s
}

// Start starts a server that ends with Close.
func Start() *Server {
	s := &Server{Lifetime: 5 * time.Minute, Heartbeat: 5 * time.Second, changed: make(chan struct{})}
	s.http = httptest.NewUnstartedServer(s)
	s.http.EnableHTTP2 = true
	s.http.StartTLS()
	s.URL = s.http.URL
	s.Root = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw}))
	return s
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Calls are those of SubscribeToShard that were taken or refused.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Refuse has the next calls answered so.
func (s *Server) Refuse(all ...Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = append(s.refuse, all...)
}

// Cut breaks all connections.
func (s *Server) Cut() { s.http.CloseClientConnections() }

// Interrupt ends all subscriptions with an exception: ResourceInUseException is what the one gets that was taken over.
func (s *Server) Interrupt(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut++
	s.code = code
	s.tellLocked()
}

func (s *Server) tellLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// stream finds one by its ARN, or by that of its consumer.
func (s *Server) stream(arn string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	arn, _, _ = strings.Cut(arn, "/consumer/")
	for _, one := range s.streams {
		if one.ARN == arn {
			return one
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		StreamARN, ConsumerARN              string
		PartitionKey, ShardId, ShardToSplit string
		Data                                []byte
		StartingPosition                    position
		ShardIteratorType                   string
		StartingSequenceNumber              string
		Timestamp                           float64
		ShardIterator                       string
		Limit                               int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "SerializationException")
		return
	}
	st := s.stream(cmp.Or(in.StreamARN, in.ConsumerARN))
	if st == nil || in.ConsumerARN != "" && st.deregistered() {
		fail(w, http.StatusBadRequest, "ResourceNotFoundException")
		return
	}
	switch _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); operation {
	case "SubscribeToShard":
		st.subscribe(w, r, in.ShardId, in.StartingPosition)
	case "GetShardIterator":
		st.iterator(w, in.ShardId, position{in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp})
	case "GetRecords":
		st.get(w, in.ShardIterator, in.Limit)
	case "PutRecord":
		id, sequence := st.Put(in.PartitionKey, in.Data)
		answer(w, map[string]any{"ShardId": id, "SequenceNumber": sequence})
	case "SplitShard":
		st.Split(in.ShardToSplit)
		answer(w, map[string]any{})
	case "DescribeStreamSummary":
		answer(w, map[string]any{"StreamDescriptionSummary": map[string]any{"StreamARN": st.ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24}})
	case "DescribeStreamConsumer":
		answer(w, map[string]any{"ConsumerDescription": map[string]any{"ConsumerARN": st.ConsumerARN, "ConsumerName": "c",
			"ConsumerStatus": "ACTIVE", "StreamARN": st.ARN}})
	case "ListShards":
		answer(w, map[string]any{"Shards": st.list()})
	default:
		fail(w, http.StatusBadRequest, "UnknownOperationException")
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client may be gone
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "as the test wants"}) //nolint:errcheck // the client may be gone
}

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }
