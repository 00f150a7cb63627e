package mongodb

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource"
)

// record is a change as the handler gets it: the event of the stream in MongoDB's extended JSON, relaxed, with its
// members in the cluster's order. Filters see the same.
func record(current bson.Raw) (*eventsource.Record, error) {
	var head struct {
		ID            bson.Raw       `bson:"_id"`
		OperationType string         `bson:"operationType"`
		ClusterTime   bson.Timestamp `bson:"clusterTime"`
		WallTime      time.Time      `bson:"wallTime"`
	}
	if err := bson.Unmarshal(current, &head); err != nil {
		return nil, fmt.Errorf("a change that cannot be read: %w", err)
	}
	text, err := bson.MarshalExtJSON(current, false, false)
	if err != nil {
		return nil, fmt.Errorf("a change that cannot be written as JSON: %w", err)
	}
	event := make([]byte, 0, len(text)+len(`{"event":}`))
	event = append(append(append(event, `{"event":`...), text...), '}')
	arrived := head.WallTime
	if arrived.IsZero() && head.ClusterTime.T > 0 {
		arrived = time.Unix(int64(head.ClusterTime.T), 0)
	}
	id, _ := head.ID.Lookup("_data").StringValueOK()
	return &eventsource.Record{
		ID:       id,
		Event:    event,
		Filtered: func() eventsource.Filtered { return eventsource.Filtered{Meta: event} },
		Shard:    shard,
		Position: position{head.ID, head.OperationType == "invalidate"}.String(),
		Arrived:  arrived,
	}, nil
}
