package kinesis

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"thaw/eventsource"
)

// event is a record as the handler gets it, members in the order that was recorded.
type event struct {
	Kinesis   inner  `json:"kinesis"`
	Source    string `json:"eventSource"`
	Version   string `json:"eventVersion"`
	ID        string `json:"eventID"`
	Name      string `json:"eventName"`
	Invoker   string `json:"invokeIdentityArn"`
	Region    string `json:"awsRegion"`
	SourceARN string `json:"eventSourceARN"`
}

type inner struct {
	SchemaVersion string      `json:"kinesisSchemaVersion"`
	PartitionKey  string      `json:"partitionKey"`
	Sequence      string      `json:"sequenceNumber"`
	Data          *string     `json:"data,omitempty"`
	Arrived       json.Number `json:"approximateArrivalTimestamp"`
}

// meta is what filters see beside the data: the members of kinesis without a prefix, and those of the record.
type meta struct {
	inner
	event
	Kinesis *struct{} `json:"kinesis,omitempty"` // hides that of event
}

// records are those of a shard, as the service gave them.
func (s *stream) records(shard string, list []types.Record) []*eventsource.Record {
	all := make([]*eventsource.Record, len(list))
	for i := range list {
		all[i] = s.record(shard, &list[i])
	}
	return all
}

func (s *stream) record(shard string, r *types.Record) *eventsource.Record {
	sequence := aws.ToString(r.SequenceNumber)
	arrived := aws.ToTime(r.ApproximateArrivalTimestamp)
	e := event{
		Kinesis: inner{SchemaVersion: "1.0", PartitionKey: aws.ToString(r.PartitionKey), Sequence: sequence, Arrived: seconds(arrived)},
		Source:  "aws:kinesis", Version: "1.0", ID: shard + ":" + sequence, Name: "aws:kinesis:record", Invoker: s.role,
		Region: s.m.Region(), SourceARN: s.m.Source.ARN,
	}
	without := e
	data := base64.StdEncoding.EncodeToString(r.Data)
	e.Kinesis.Data = &data
	return &eventsource.Record{
		ID:    sequence,
		Event: marshal(e),
		Filtered: func() eventsource.Filtered {
			return eventsource.Filtered{
				Meta: marshal(meta{inner: without.Kinesis, event: without}), Data: []eventsource.Datum{{Name: "data", Bytes: r.Data}},
			}
		},
		Shard:    shard,
		Position: sequence,
		Key:      aws.ToString(r.PartitionKey),
		Arrived:  arrived,
	}
}

// seconds writes a time as the service does: seconds with milliseconds behind the point.
func seconds(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64))
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and a number
	}
	return b
}
