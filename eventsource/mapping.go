package eventsource

import (
	"strings"
	"time"

	"thaw/function"
)

// Kind says what a mapping reads.
type Kind string

// The kinds. Each has a row in the table of options (options.go) and a package that speaks its protocol.
const (
	SQS              Kind = "sqs"
	Kinesis          Kind = "kinesis"
	DynamoDB         Kind = "dynamodb"
	MSK              Kind = "msk"
	SelfManagedKafka Kind = "kafka"
	ActiveMQ         Kind = "activemq"
	RabbitMQ         Kind = "rabbitmq"
	DocumentDB       Kind = "documentdb"
)

// Kinds are all of them.
var Kinds = []Kind{SQS, Kinesis, DynamoDB, MSK, SelfManagedKafka, ActiveMQ, RabbitMQ, DocumentDB}

// ID is the UUID of a mapping.
type ID string

// Mapping is the record that binds a source to a function. It is not changed once it is stored: a change makes another.
type Mapping struct {
	ID   ID
	Kind Kind

	Function  function.Key
	Qualifier function.Qualifier // as the client named it; empty: none
	Partition string             // of ARNs: aws

	Source   Origin
	Options  Options
	Filters  []string // patterns, each a JSON text; a record passes that one of them lets pass
	Metrics  []string // MetricsConfig of clients
	Tags     map[string]string
	State    State
	Reason   string // StateTransitionReason
	Result   string // LastProcessingResult; empty: there is none
	Modified time.Time
	Created  time.Time
	Revision uint64 `json:"-"` // of the store
}

// Origin is what is read, and how one is let in. It cannot be changed, but for Access.
type Origin struct {
	ARN     string   // empty: self-managed
	Brokers []string // of self-managed Kafka: host:port
	Topics  []string // Kafka: exactly one
	Queues  []string // MQ: exactly one

	Start     StartAt // of streams and Kafka; empty: queues have none
	StartTime time.Time

	GroupID string // Kafka
	Queue   bool   // Kafka: ConsumptionMode Queue

	Database, Collection string // DocumentDB
	UpdateLookup         bool   // DocumentDB: FullDocument

	Access []Access
	Schema *Schema // Kafka
}

// Access is one entry of SourceAccessConfigurations.
type Access struct{ Type, URI string }

// Schema is SchemaRegistryConfig.
type Schema struct {
	URI        string
	Source     bool // EventRecordFormat SOURCE instead of JSON
	Access     []Access
	Attributes []string // KEY, VALUE
}

// Options are what an update can change. Units are AWS's. The zero value of what a kind does not have means nothing.
type Options struct {
	BatchSize int
	Window    *int // seconds; nil: the kind's own, half a second

	Parallel       int  // ParallelizationFactor, 1 to 10
	Tumbling       int  // seconds; 0: none
	MaxRetries     int  // -1: no bound
	MaxAge         int  // seconds; -1: no bound
	Bisect         bool // BisectBatchOnFunctionError
	Partial        bool // ReportBatchItemFailures
	OnFailure      string
	MaxConcurrency int      // ScalingConfig; 0: none
	Pollers        *Pollers // ProvisionedPollerConfig
}

// Pollers is ProvisionedPollerConfig.
type Pollers struct {
	Min, Max int
	Group    string
}

// FunctionARN names the function as the client did.
func (m *Mapping) FunctionARN() function.ARN {
	return m.Function.ARN(m.Partition).Qualified(m.Qualifier)
}

// ARN is the mapping's own.
func (m *Mapping) ARN() string {
	return "arn:" + m.Partition + ":lambda:" + m.Function.Region + ":" + m.Function.Account + ":event-source-mapping:" + string(m.ID)
}

// Region of the source: that of its ARN, or of the function.
func (m *Mapping) Region() string {
	if parts := strings.SplitN(m.Source.ARN, ":", 5); len(parts) == 5 && parts[3] != "" {
		return parts[3]
	}
	return m.Function.Region
}

// Window is how long a batch may wait for more records, from its first on.
func (m *Mapping) Window() time.Duration {
	if m.Source.Queue {
		return 0 // its batches are what the cluster gives at one time
	}
	if m.Options.Window == nil {
		return traits[m.Kind].Window
	}
	return time.Duration(*m.Options.Window) * time.Second
}

// Secret is the URI of the first entry of SourceAccessConfigurations with that type; empty: there is none.
func (m *Mapping) Secret(typ string) string {
	for _, a := range m.Source.Access {
		if a.Type == typ {
			return a.URI
		}
	}
	return ""
}
