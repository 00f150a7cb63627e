package node

import (
	"context"
	"time"

	"thaw/admin"
)

// depthLimit is how long a queue may take to say how much waits in it, when somebody looks.
const depthLimit = 2 * time.Second

// sourcesNow is what this server knows of event source mappings.
func (n *Node) sourcesNow(ctx context.Context) []admin.Source {
	ctx, cancel := context.WithTimeout(ctx, depthLimit)
	defer cancel()
	var list []admin.Source
	for _, st := range n.sources.Status(ctx) {
		m := st.Mapping
		s := admin.Source{ID: string(m.ID), Region: m.Function.Region, Kind: string(m.Kind), Pollers: st.Pollers, InFlight: st.InFlight, Lag: lagOf(st.Lag), Held: st.Held, Oldest: st.Oldest}
		if e := st.Last; e != nil {
			s.Last = &admin.SourceBatch{At: e.At, Records: e.Records, Done: e.Done, RequestID: e.RequestID}
		}
		if t := st.Trouble; t != nil {
			s.Trouble = &admin.SourceTrouble{At: t.At, Cause: string(t.Cause), Code: t.Code, Text: t.Text, Detail: t.Detail}
		}
		for _, sh := range st.Shards {
			s.Shards = append(s.Shards, admin.SourceShard{ID: sh.ID, Lag: lagOf(sh.Lag), Held: sh.Held, Oldest: sh.Oldest})
		}
		list = append(list, s)
	}
	return list
}

// lagOf is nil for a number that nobody knows.
func lagOf(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
