package eventsource

import (
	"encoding/json"
	"strconv"
	"time"
)

const (
	userInitiated = "USER_INITIATED"
	userAction    = "User action"
	quick         = 500 * time.Millisecond
)

// traits has a row for each kind. Source: sections 1.2, 1.5, 2.4; control-plane.md 18.
var traits = map[Kind]Traits{
	SQS:      {MaxBatch: 10_000, Exact: true, Data: []string{"body"}, Mismatch: Drop, Reason: userInitiated},
	Kinesis:  {MaxBatch: 10_000, Data: []string{"data"}, Mismatch: DropOrRefuse, Reason: userAction, Result: true, Oversized: RetryAttemptsExhausted},
	DynamoDB: {MaxBatch: 10_000, Mismatch: DropOrRefuse, Reason: userAction, Result: true, Oversized: RetryAttemptsExhausted},
	MSK: {Window: quick, MaxBatch: 10_000, Assigns: true, Mixes: true, FilteredWait: true, Exact: true, Data: []string{"key", "value"},
		Mismatch: MetadataOnly, Reason: userInitiated, Result: true, Oversized: MaximumPayloadSizeExceeded, Identify: kafkaID},
	SelfManagedKafka: {Window: quick, MaxBatch: 10_000, Assigns: true, Mixes: true, FilteredWait: true, Exact: true, Data: []string{"key", "value"},
		Mismatch: MetadataOnly, Reason: userInitiated, Result: true, Oversized: MaximumPayloadSizeExceeded, Identify: kafkaID},
	ActiveMQ:   {Window: quick, MaxBatch: 10_000, Pollers: 1, Exact: true, Data: []string{"data"}, Mismatch: MetadataOnly, Reason: userInitiated, Result: true},
	RabbitMQ:   {Window: quick, MaxBatch: 10_000, Pollers: 1, Exact: true, Data: []string{"data"}, Mismatch: MetadataOnly, Reason: userInitiated, Result: true},
	DocumentDB: {Window: quick, MaxBatch: 10_000, Reason: userAction, Result: true},
}

// TraitsOf returns the row of a kind.
func TraitsOf(k Kind) Traits { return traits[k] }

// KafkaID is the Record.ID of a record of Kafka.
func KafkaID(topic string, partition int32, offset int64) string {
	return topic + "-" + strconv.Itoa(int(partition)) + "@" + strconv.FormatInt(offset, 10)
}

// kafkaID reads {"partition":"TOPIC-PARTITION","offset":NUMBER}.
func kafkaID(b json.RawMessage) (string, bool) {
	var id struct {
		Partition *string `json:"partition"`
		Offset    *int64  `json:"offset"`
	}
	if json.Unmarshal(b, &id) != nil || id.Partition == nil || id.Offset == nil {
		return "", false
	}
	return *id.Partition + "@" + strconv.FormatInt(*id.Offset, 10), true
}

// HasRetries says whether a mapping has MaximumRetryAttempts, MaximumRecordAgeInSeconds and BisectBatchOnFunctionError:
// streams do, and Kafka in provisioned mode or as a queue. Source: section 1.2.
func (m *Mapping) HasRetries() bool {
	switch m.Kind {
	case Kinesis, DynamoDB:
		return true
	case MSK, SelfManagedKafka:
		return m.Options.Pollers != nil || m.Source.Queue
	}
	return false
}

// IsQueue says whether the source of a mapping is a Queue.
func (t Traits) IsQueue(m *Mapping) bool { return m.Kind == SQS || t.Pollers > 0 || m.Source.Queue }
