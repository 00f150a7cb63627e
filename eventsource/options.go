package eventsource

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is what clients may say of a kind, and what is so where they say nothing.
type row struct {
	batch     int
	start     []StartAt // empty: the kind has none
	needStart bool
	window    bool // MaximumBatchingWindowInSeconds is 0 where it was not given, and shown
	streams   bool // BisectBatchOnFunctionError, MaximumRecordAgeInSeconds, MaximumRetryAttempts, ParallelizationFactor, TumblingWindowInSeconds
	partial   bool
	onFailure bool
	scaling   bool
	pollers   Pollers // most of each; zero: no provisioned mode
	access    bool    // SourceAccessConfigurations
	topics    bool
	queues    bool
	longest   time.Duration // a function's timeout; 0: any
}

var (
	allStarts = []StartAt{Latest, AtTimestamp, TrimHorizon}
	kafkaRow  = row{batch: 100, start: allStarts, partial: true, onFailure: true, pollers: Pollers{Min: 200, Max: 2000}, access: true, topics: true, longest: 14 * time.Minute}
	mqRow     = row{batch: 100, access: true, queues: true, longest: 14 * time.Minute}
)

// table has a row for each kind. Source: event-sources.md 1.2, control-plane.md 18.2.
var table = map[Kind]row{
	SQS:              {batch: 10, window: true, partial: true, scaling: true, pollers: Pollers{Min: 200, Max: 10_000}},
	Kinesis:          {batch: 100, start: allStarts, needStart: true, window: true, streams: true, partial: true, onFailure: true},
	DynamoDB:         {batch: 100, start: []StartAt{TrimHorizon, Latest}, needStart: true, window: true, streams: true, partial: true, onFailure: true},
	MSK:              kafkaRow,
	SelfManagedKafka: kafkaRow,
	ActiveMQ:         mqRow,
	RabbitMQ:         mqRow,
	DocumentDB:       {batch: 100, start: allStarts, needStart: true, access: true},
}

// KindOf says what an ARN, or a self-managed cluster, is. An address that is known says more than the ARN: brokers of
// Amazon MQ are told apart by it, and any ARN may stand for a MongoDB. *InvalidError.
func KindOf(arn string, brokers []string, e Endpoints) (Kind, error) {
	if arn == "" {
		if brokers == nil {
			return "", &InvalidError{"Unrecognized event source."}
		}
		return SelfManagedKafka, nil
	}
	if e != nil {
		if at, ok := e.Endpoint(arn); ok {
			scheme, _, _ := strings.Cut(at, "://")
			switch scheme {
			case "amqp", "amqps":
				return RabbitMQ, nil
			case "amqp+ssl", "activemq": // as Amazon MQ writes it for ActiveMQ; without TLS
				return ActiveMQ, nil
			case "mongodb", "mongodb+srv":
				return DocumentDB, nil
			case "kafka":
				return MSK, nil
			}
		}
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return "", &InvalidError{"Unrecognized event source."}
	}
	switch parts[2] {
	case "sqs":
		return SQS, nil
	case "kinesis":
		return Kinesis, nil
	case "dynamodb":
		return DynamoDB, nil
	case "kafka":
		return MSK, nil
	case "rds":
		return DocumentDB, nil
	case "mq":
		return "", &InvalidError{"The address of " + arn + ` is not known. Start the server with --sources "` + arn + `=amqps://HOST:5671" (RabbitMQ) or amqp+ssl://HOST:5671 (ActiveMQ).`}
	}
	return "", &InvalidError{"Unrecognized event source."}
}

// FIFO says whether the queue of a mapping is one.
func (m *Mapping) FIFO() bool { return m.Kind == SQS && strings.HasSuffix(m.Source.ARN, ".fifo") }

// New makes a mapping of a request: its ID, Function, Qualifier and Partition are the caller's. *InvalidError,
// *EnumError.
func New(k Kind, r *Request) (*Mapping, error) {
	t := table[k]
	m := &Mapping{Kind: k, State: Creating, Reason: traits[k].Reason, Options: Options{BatchSize: t.batch}}
	if traits[k].Result {
		m.Result = "No records processed"
	}
	if t.window {
		m.Options.Window = new(int)
	}
	if t.streams {
		m.Options.Parallel, m.Options.MaxAge, m.Options.MaxRetries = 1, -1, -1
	}
	if t.pollers.Max > 0 && t.topics {
		m.Options.MaxAge, m.Options.MaxRetries = -1, -1
	}
	if r.Enabled != nil && !*r.Enabled {
		m.State = Disabled
	}
	if r.ARN != nil {
		m.Source.ARN = *r.ARN
	}
	m.Source.Brokers, m.Source.Topics, m.Source.Queues = r.Brokers, r.Topics, r.Queues
	if r.Brokers != nil && r.Access == nil {
		return nil, &InvalidError{"Required 'sourceAccessConfigurations' parameter is missing."}
	}
	if err := m.begin(t, r); err != nil {
		return nil, err
	}
	return m, m.Change(r)
}

// EnumError refuses a value that is none of a set: ValidationException.
type EnumError struct{ Value, Member, Set string }

func (e *EnumError) Error() string { return e.Member + ": " + e.Value }

// begin takes what cannot be changed later.
func (m *Mapping) begin(t row, r *Request) error {
	s := &m.Source
	if (r.Topics != nil) != t.topics {
		return needOne("Topics", t.topics)
	}
	if (r.Queues != nil) != t.queues {
		return needOne("Queues", t.queues)
	}
	if err := m.beginAt(t, r); err != nil {
		return err
	}
	if r.Kafka != nil {
		if !t.topics {
			return unsupported("KafkaEventSourceConfig")
		}
		if r.Kafka.GroupID != nil {
			s.GroupID = *r.Kafka.GroupID
		}
		if r.Kafka.Queue != nil && *r.Kafka.Queue {
			if m.Kind != SelfManagedKafka {
				return unsupported("ConsumptionMode")
			}
			if r.Start != nil || r.StartTime != nil || r.Window != nil {
				return &InvalidError{"StartingPosition, StartingPositionTimestamp and MaximumBatchingWindowInSeconds are not supported for ConsumptionMode Queue."}
			}
			s.Queue, s.Start, m.Options.MaxRetries = true, "", 0
		}
	}
	switch d := r.DocumentDB; {
	case d == nil && m.Kind == DocumentDB, d != nil && m.Kind == DocumentDB && (d.Database == nil || *d.Database == ""):
		return &InvalidError{"Required 'databaseName' parameter is missing."}
	case d != nil && m.Kind != DocumentDB:
		return unsupported("DocumentDBEventSourceConfig")
	case d != nil:
		s.Database = *d.Database
		if d.Collection != nil {
			s.Collection = *d.Collection
		}
	}
	if (m.Kind == ActiveMQ || m.Kind == RabbitMQ || m.Kind == DocumentDB) && !slices.ContainsFunc(r.Access, func(a Access) bool { return a.Type == "BASIC_AUTH" }) {
		return &InvalidError{"Required 'sourceAccessConfigurations' parameter is missing."}
	}
	return nil
}

func needOne(member string, need bool) error {
	if need {
		return &InvalidError{"Required '" + strings.ToLower(member[:1]) + member[1:] + "' parameter is missing."}
	}
	return unsupported(member)
}

func (m *Mapping) beginAt(t row, r *Request) error {
	switch {
	case len(t.start) == 0:
		if r.Start != nil {
			return unsupported("StartingPosition")
		}
		return nil
	case r.Start == nil && t.needStart:
		return &InvalidError{"1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."}
	case r.Start == nil:
		m.Source.Start = TrimHorizon
		return nil
	case !slices.Contains(allStarts, StartAt(*r.Start)):
		return &EnumError{*r.Start, "startingPosition", "[LATEST, AT_TIMESTAMP, TRIM_HORIZON]"}
	case !slices.Contains(t.start, StartAt(*r.Start)):
		return &InvalidError{"Unsupported starting position for arn type: " + m.Source.ARN}
	}
	m.Source.Start = StartAt(*r.Start)
	if m.Source.Start != AtTimestamp {
		return nil
	}
	if r.StartTime == nil {
		return &InvalidError{"StartingPositionTimestamp is required when StartingPosition is AT_TIMESTAMP."}
	}
	m.Source.StartTime = *r.StartTime
	return nil
}

func unsupported(member string) error {
	return &InvalidError{"Unsupported " + member + " parameter for given event source mapping type."}
}

// Change takes what a request says that can be changed. The mapping is no one else's. *InvalidError.
func (m *Mapping) Change(r *Request) error {
	t := table[m.Kind]
	if r.Kafka != nil && r.Kafka.Queue != nil && *r.Kafka.Queue != m.Source.Queue {
		return &InvalidError{"ConsumptionMode cannot be changed. Please create another event source mapping."}
	}
	for _, step := range []func(row, *Request) error{m.changeBatch, m.changeRetries, m.changeScale, m.changeAccess} {
		if err := step(t, r); err != nil {
			return err
		}
	}
	if r.KMSKey != nil && *r.KMSKey != "" {
		return &InvalidError{"KMSKeyArn is not supported: this server does not encrypt filter criteria with a key of its customers."}
	}
	if r.Metrics != nil {
		m.Metrics = r.Metrics
	}
	if r.Filters != nil {
		if _, err := NewFilter(m.Kind, r.Filters); err != nil {
			return err
		}
		m.Filters = r.Filters
	}
	return nil
}

func (m *Mapping) changeBatch(t row, r *Request) error {
	if r.BatchSize != nil {
		m.Options.BatchSize = *r.BatchSize
	}
	if r.Window != nil {
		if m.Source.Queue {
			return unsupported("MaximumBatchingWindowInSeconds")
		}
		window := *r.Window
		m.Options.Window = &window
	}
	if m.Kind != SQS {
		return nil
	}
	window := m.Options.Window != nil && *m.Options.Window > 0
	switch {
	case m.FIFO() && window:
		return &InvalidError{"Batching window is not supported for FIFO queues."}
	case m.FIFO() && m.Options.BatchSize > 10:
		return &InvalidError{"Maximum batch size for FIFO queues is 10."}
	case m.Options.BatchSize > 10 && !window:
		return &InvalidError{"Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"}
	}
	return nil
}

func (m *Mapping) changeRetries(t row, r *Request) error {
	o := &m.Options
	if r.Pollers != nil { // they say whether Kafka has retries
		if t.pollers.Max == 0 {
			return unsupported("ProvisionedPollerConfig")
		}
		o.Pollers = r.Pollers
		if *r.Pollers == (Pollers{}) {
			o.Pollers = nil
		}
	}
	retries := t.streams || t.topics && (o.Pollers != nil || m.Source.Queue)
	for _, c := range []struct {
		member string
		given  bool
		can    bool
	}{
		{"ParallelizationFactor", r.Parallel != nil, t.streams}, {"TumblingWindowInSeconds", r.Tumbling != nil, t.streams},
		{"MaximumRetryAttempts", r.MaxRetries != nil, retries}, {"MaximumRecordAgeInSeconds", r.MaxAge != nil, retries},
		{"BisectBatchOnFunctionError", r.Bisect != nil && *r.Bisect, retries}, {"FunctionResponseTypes", len(r.ResponseTypes) > 0, t.partial && (!t.topics || retries)},
		{"DestinationConfig", r.OnSuccess, false}, {"DestinationConfig", r.Destination != nil && *r.Destination != "", t.onFailure},
	} {
		if c.given && !c.can {
			return unsupported(c.member)
		}
	}
	if r.MaxAge != nil && *r.MaxAge != -1 && *r.MaxAge < 60 {
		return &InvalidError{fmt.Sprintf("Maximum record age in seconds must be -1 or at least 60, and is %d.", *r.MaxAge)}
	}
	set(&o.Parallel, r.Parallel)
	set(&o.Tumbling, r.Tumbling)
	set(&o.MaxRetries, r.MaxRetries)
	set(&o.MaxAge, r.MaxAge)
	set(&o.Bisect, r.Bisect)
	if r.ResponseTypes != nil {
		o.Partial = slices.Contains(r.ResponseTypes, "ReportBatchItemFailures")
	}
	return m.changeDestination(r)
}

func (m *Mapping) changeDestination(r *Request) error {
	if r.Destination == nil {
		return nil
	}
	to := *r.Destination
	if topic, ok := strings.CutPrefix(to, "kafka://"); ok {
		if m.Kind != MSK && m.Kind != SelfManagedKafka || m.Options.Pollers == nil {
			return unsupported("DestinationConfig")
		}
		if slices.Contains(m.Source.Topics, topic) {
			return &InvalidError{"The on-failure destination must not be the topic that is read: " + topic}
		}
	} else if parts := strings.SplitN(to, ":", 4); to != "" && (len(parts) < 4 || !slices.Contains([]string{"sqs", "sns", "s3"}, parts[2])) {
		return &InvalidError{"The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination=" + to + ")) is invalid."}
	}
	m.Options.OnFailure = to
	return nil
}

func (m *Mapping) changeScale(t row, r *Request) error {
	o := &m.Options
	if r.Concurrency != nil {
		if !t.scaling && *r.Concurrency > 0 {
			return unsupported("ScalingConfig")
		}
		o.MaxConcurrency = *r.Concurrency
	}
	if o.MaxConcurrency > 0 && o.Pollers != nil {
		return &InvalidError{"ScalingConfig and ProvisionedPollerConfig cannot be used at the same time."}
	}
	if p := o.Pollers; p != nil && (p.Min > t.pollers.Min || p.Max > t.pollers.Max || p.Max > 0 && p.Min > p.Max || m.Kind == SQS && (p.Min == 1 || p.Max == 1)) {
		return &InvalidError{fmt.Sprintf("MinimumPollers must be at most %d, MaximumPollers at most %d and not less than MinimumPollers.", t.pollers.Min, t.pollers.Max)}
	}
	return nil
}

func (m *Mapping) changeAccess(t row, r *Request) error {
	if r.Access != nil {
		if !t.access {
			return unsupported("SourceAccessConfigurations")
		}
		if err := checkAccess(r.Access); err != nil {
			return err
		}
		m.Source.Access = r.Access
	}
	if r.Kafka != nil && r.Kafka.Schema != nil {
		if m.Options.Pollers == nil {
			return &InvalidError{"SchemaRegistryConfig is only available in provisioned mode: ProvisionedPollerConfig is missing."}
		}
		if m.Source.Schema = r.Kafka.Schema; m.Source.Schema.URI == "" {
			m.Source.Schema = nil
		}
	}
	if d := r.DocumentDB; d != nil && d.UpdateLookup != nil {
		m.Source.UpdateLookup = *d.UpdateLookup
	}
	return nil
}

// checkAccess refuses what says something about a login that is not there. Source: section 6.6.
func checkAccess(all []Access) error {
	has := func(typ string) bool { return slices.ContainsFunc(all, func(a Access) bool { return a.Type == typ }) }
	for _, c := range []struct {
		typ   string
		needs []string
	}{
		{"OAUTHBEARER_SCOPE", []string{"OAUTHBEARER_AUTH"}}, {"OAUTHBEARER_LOGICAL_CLUSTER", []string{"OAUTHBEARER_AUTH"}},
		{"OAUTHBEARER_IDENTITY_POOL", []string{"OAUTHBEARER_AUTH"}},
		{"OAUTHBEARER_AUDIENCE", []string{"OAUTHBEARER_AUTH", "IAM_OAUTHBEARER_AUTH"}}, {"IAM_OAUTHBEARER_AUTH", []string{"OAUTHBEARER_AUDIENCE"}},
	} {
		if has(c.typ) && !slices.ContainsFunc(c.needs, has) {
			return &InvalidError{"SourceAccessConfigurations with the type " + c.typ + " need another one with the type " + strings.Join(c.needs, " or ") + "."}
		}
	}
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// CheckTimeout refuses a function whose timeout is longer than its source can wait. *InvalidError.
func (m *Mapping) CheckTimeout(f Facts) error {
	if longest := table[m.Kind].longest; longest > 0 && f.Timeout > longest {
		return &InvalidError{fmt.Sprintf("The function timeout of %d seconds is longer than the %d seconds that this kind of event source allows.", int(f.Timeout.Seconds()), int(longest.Seconds()))}
	}
	return nil
}

// Conflict says why there cannot be two such mappings, in the words of their kind; empty: there can. Source:
// control-plane.md 18.3.
func (m *Mapping) Conflict(other *Mapping) string {
	const rest = " already exists. Please update or delete the existing mapping with UUID "
	if m.Kind != other.Kind || m.Function != other.Function || m.Qualifier != other.Qualifier || m.Source.ARN != other.Source.ARN {
		return ""
	}
	switch m.Kind {
	case SQS:
		return fmt.Sprintf(`An event source mapping with SQS arn (" %s ") and function (" %s ")`, m.Source.ARN, m.Function.Name) + rest + string(other.ID)
	case SelfManagedKafka, MSK:
		if !slices.Equal(m.Source.Brokers, other.Source.Brokers) || !slices.Equal(m.Source.Topics, other.Source.Topics) || m.Source.GroupID != "" && m.Source.GroupID != other.Source.GroupID {
			return ""
		}
		of := strings.Join(m.Source.Brokers, ",")
		if m.Kind == MSK {
			of = m.Source.ARN
		}
		return fmt.Sprintf(`An event source mapping with event source ("%s"), function ("%s"), topics ("%s")`, of, m.FunctionARN(), strings.Join(m.Source.Topics, ",")) + rest + string(other.ID)
	}
	if !slices.Equal(m.Source.Queues, other.Source.Queues) || m.Source.Database != other.Source.Database || m.Source.Collection != other.Source.Collection {
		return ""
	}
	return fmt.Sprintf(`The event source arn (" %s ") and function (" %s ") provided mapping`, m.Source.ARN, m.Function.Name) + rest + string(other.ID)
}

// Shown says which members of the answer a mapping has, beside those that are shown where they are set.
type Shown struct {
	Window, Partial, Streams, Destination, Retries bool
}

// Shown is what the answers of a mapping show. Source: control-plane.md 18.2.
func (m *Mapping) Shown() Shown {
	t := table[m.Kind]
	return Shown{Window: m.Options.Window != nil, Partial: t.window || m.Options.Partial, Streams: t.streams, Destination: t.streams || m.Options.OnFailure != "",
		Retries: t.streams || m.HasRetries()}
}
