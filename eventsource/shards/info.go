package shards

import (
	"encoding/json"

	"thaw/eventsource"
)

// batchInfo is what a failure record tells of its batch. Source: section 1.6.
type batchInfo struct {
	ShardID string `json:"shardId"`
	First   string `json:"startSequenceNumber"`
	Last    string `json:"endSequenceNumber"`
	FirstAt string `json:"approximateArrivalOfFirstRecord"`
	LastAt  string `json:"approximateArrivalOfLastRecord"`
	Size    int    `json:"batchSize"`
	Stream  string `json:"streamArn"`
}

// BatchInfo is what a failure record tells of a batch of one shard. layout is how the service writes its times, in UTC.
func BatchInfo(stream string, batch []*eventsource.Record, layout string) json.RawMessage {
	first, last := batch[0], batch[len(batch)-1]
	b, err := json.Marshal(batchInfo{
		first.Shard, first.Position, last.Position, first.Arrived.UTC().Format(layout), last.Arrived.UTC().Format(layout), len(batch), stream,
	})
	if err != nil {
		panic(err) // texts and a number
	}
	return b
}
