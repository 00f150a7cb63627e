package admin

import (
	"context"
	"net/http"
	"time"
)

// Source is what a server knows of an event source mapping beside what the API tells.
type Source struct {
	ID       string         `json:"id"`
	Region   string         `json:"region"`
	Kind     string         `json:"kind"`
	Pollers  int            `json:"pollers"`            // of a queue, or shards that this server reads
	InFlight int            `json:"inFlight"`           // batches
	Lag      *int64         `json:"lag,omitempty"`      // records that wait in the source; nil: nobody knows
	BehindMs *int64         `json:"behindMs,omitempty"` // how far reading is behind the end of a stream that counts time; nil: nobody knows
	Held     int            `json:"held"`               // records that were read and are not done with
	Oldest   time.Time      `json:"oldest,omitzero"`    // when the source got the oldest of them
	Last     *SourceBatch   `json:"lastBatch,omitempty"`
	Trouble  *SourceTrouble `json:"lastError,omitempty"`
	Shards   []SourceShard  `json:"shards,omitempty"`
}

// SourceShard is one shard or partition that this server reads.
type SourceShard struct {
	ID       string    `json:"id"`
	Lag      *int64    `json:"lag,omitempty"`
	BehindMs *int64    `json:"behindMs,omitempty"`
	Held     int       `json:"held"`
	Oldest   time.Time `json:"oldest,omitzero"`
}

// SourceBatch is how the last batch ended.
type SourceBatch struct {
	At        time.Time `json:"at"`
	Records   int       `json:"records"`
	Done      int       `json:"done"` // those of them that it is done with
	RequestID string    `json:"requestId"`
}

// SourceTrouble is the last thing that went wrong.
type SourceTrouble struct {
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"` // source, function, capacity, absence or destination
	Code   string    `json:"code,omitempty"`
	Text   string    `json:"text"`
	Detail string    `json:"detail,omitempty"`
}

func (s *Server) sourceRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/sources", func(w http.ResponseWriter, r *http.Request) {
		list := s.o.Sources(r.Context())
		if list == nil {
			list = []Source{}
		}
		answer(w, list)
	})
}

// Sources tells of the event source mappings of all regions.
func (c *Client) Sources(ctx context.Context) (list []Source, err error) {
	return list, c.get(ctx, "sources", &list)
}
