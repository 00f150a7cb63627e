package eventsource

import "time"

// Request is what a client says of a mapping, to make or to change it. nil: the client did not say it.
type Request struct {
	ARN     *string
	Brokers []string // of self-managed Kafka; nil: there is no SelfManagedEventSource
	Enabled *bool

	BatchSize, Window, Parallel, Tumbling *int
	MaxAge, MaxRetries                    *int
	Bisect                                *bool
	ResponseTypes                         []string
	Destination                           *string // of OnFailure; empty: DestinationConfig has none
	OnSuccess                             bool
	Start                                 *string
	StartTime                             *time.Time
	Topics, Queues                        []string
	Access                                []Access
	Filters                               []string
	KMSKey                                *string
	Metrics                               []string
	Concurrency                           *int // of ScalingConfig; 0: it has none
	Pollers                               *Pollers
	Kafka                                 *KafkaRequest
	DocumentDB                            *DocumentDBRequest
}

// KafkaRequest is AmazonManagedKafkaEventSourceConfig or SelfManagedKafkaEventSourceConfig.
type KafkaRequest struct {
	GroupID *string
	Queue   *bool
	Schema  *Schema // nil: none, and in an update as it was; with no URI: none any more
}

// DocumentDBRequest is DocumentDBEventSourceConfig.
type DocumentDBRequest struct {
	Database, Collection *string
	UpdateLookup         *bool
}
