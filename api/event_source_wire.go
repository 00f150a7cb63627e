package api

import (
	"math"
	"slices"
	"strings"
	"time"

	"thaw/eventsource"
	"thaw/function"
)

// eventSourceMapping is the wire's EventSourceMappingConfiguration, and what requests have of it. Which members an answer
// has depends on the kind of the source: eventsource.Shown.
type eventSourceMapping struct {
	UUID                                string                   `json:",omitempty"`
	EventSourceMappingArn               string                   `json:",omitempty"`
	EventSourceArn                      *string                  `json:",omitempty"`
	FunctionArn                         function.ARN             `json:",omitempty"`
	State                               string                   `json:",omitempty"`
	StateTransitionReason               string                   `json:",omitempty"`
	LastModified                        float64                  `json:",omitempty"` // Unix seconds
	LastProcessingResult                *string                  `json:",omitempty"`
	BatchSize                           *int                     `json:",omitempty"`
	MaximumBatchingWindowInSeconds      *int                     `json:",omitempty"`
	FilterCriteria                      *filterCriteria          `json:",omitempty"`
	FunctionResponseTypes               []string                 `json:",omitzero"`
	StartingPosition                    *string                  `json:",omitempty"`
	StartingPositionTimestamp           *float64                 `json:",omitempty"`
	ParallelizationFactor               *int                     `json:",omitempty"`
	TumblingWindowInSeconds             *int                     `json:",omitempty"`
	MaximumRecordAgeInSeconds           *int                     `json:",omitempty"`
	MaximumRetryAttempts                *int                     `json:",omitempty"`
	BisectBatchOnFunctionError          *bool                    `json:",omitempty"`
	DestinationConfig                   *mappingDestinations     `json:",omitempty"`
	Topics                              []string                 `json:",omitempty"`
	Queues                              []string                 `json:",omitempty"`
	SourceAccessConfigurations          []sourceAccess           `json:",omitempty"`
	SelfManagedEventSource              *selfManaged             `json:",omitempty"`
	AmazonManagedKafkaEventSourceConfig *kafkaConfig             `json:",omitempty"`
	SelfManagedKafkaEventSourceConfig   *kafkaConfig             `json:",omitempty"`
	DocumentDBEventSourceConfig         *documentDBConfig        `json:",omitempty"`
	ScalingConfig                       *mappingScaling          `json:",omitempty"`
	ProvisionedPollerConfig             *provisionedPollerConfig `json:",omitempty"`
	KMSKeyArn                           *string                  `json:",omitempty"`
	MetricsConfig                       *metricsConfig           `json:",omitempty"`
}

// eventSourceInput is the body of a request.
type eventSourceInput struct {
	eventSourceMapping
	FunctionName *string
	Enabled      *bool
	Tags         map[string]string
}

type (
	filterCriteria struct{ Filters []eventFilter }
	eventFilter    struct {
		Pattern *string `json:",omitempty"`
	}
	mappingDestinations struct {
		OnSuccess *eventDestination `json:",omitempty"`
		OnFailure *eventDestination
	}
	sourceAccess struct {
		Type *string `json:",omitempty"`
		URI  *string `json:",omitempty"`
	}
	selfManaged      struct{ Endpoints map[string][]string }
	documentDBConfig struct {
		DatabaseName, CollectionName, FullDocument *string `json:",omitempty"`
	}
	mappingScaling struct {
		MaximumConcurrency *int `json:",omitempty"`
	}
	provisionedPollerConfig struct {
		MinimumPollers, MaximumPollers *int    `json:",omitempty"`
		PollerGroupName                *string `json:",omitempty"`
	}
	metricsConfig struct{ Metrics []string }
	kafkaConfig   struct {
		ConsumerGroupId      *string         `json:",omitempty"`
		ConsumptionMode      *string         `json:",omitempty"`
		SchemaRegistryConfig *schemaRegistry `json:",omitempty"`
	}
	schemaRegistry struct {
		SchemaRegistryURI       *string            `json:",omitempty"`
		EventRecordFormat       *string            `json:",omitempty"`
		AccessConfigs           []sourceAccess     `json:",omitempty"`
		SchemaValidationConfigs []schemaValidation `json:",omitempty"`
	}
	schemaValidation struct{ Attribute *string }
)

// Patterns of the model.
const (
	eventSourcePattern = `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-gov)?-[a-z]+-\d{1})?:(\d{12})?:(.*)`
	topicPattern       = `[^.]([a-zA-Z0-9\-_.]+)`
	accessURIPattern   = `[a-zA-Z0-9-\/*:_+=.@-]*`
	bootstrapServers   = "KAFKA_BOOTSTRAP_SERVERS"
)

var (
	eventSourceRE = whole(eventSourcePattern)
	topicRE       = whole(topicPattern)
	accessURIRE   = whole(accessURIPattern)
)

var accessTypes = []string{"BASIC_AUTH", "VPC_SUBNET", "VPC_SECURITY_GROUP", "SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "VIRTUAL_HOST", "CLIENT_CERTIFICATE_TLS_AUTH",
	"SERVER_ROOT_CA_CERTIFICATE", "OAUTHBEARER_AUTH", "OAUTHBEARER_SCOPE", "OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL", "IAM_AUTH",
	"IAM_OAUTHBEARER_AUTH"}

// check checks form; what a kind of source allows is eventsource's.
func (in *eventSourceInput) check(v *violations) {
	v.text("eventSourceArn", in.EventSourceArn, 0, -1, eventSourceRE, eventSourcePattern)
	for _, n := range []struct {
		member    string
		n         *int
		low, high int
	}{
		{"batchSize", in.BatchSize, 1, 10_000}, {"maximumBatchingWindowInSeconds", in.MaximumBatchingWindowInSeconds, 0, 300},
		{"parallelizationFactor", in.ParallelizationFactor, 1, 10}, {"maximumRecordAgeInSeconds", in.MaximumRecordAgeInSeconds, -1, 604_800},
		{"maximumRetryAttempts", in.MaximumRetryAttempts, -1, 10_000}, {"tumblingWindowInSeconds", in.TumblingWindowInSeconds, 0, 900},
	} {
		v.number(n.member, n.n, n.low, n.high)
	}
	if f := in.FilterCriteria; f != nil {
		for _, p := range f.Filters {
			v.text("filterCriteria.filters.member.pattern", p.Pattern, 0, 4096, nil, "")
		}
	}
	for _, r := range in.FunctionResponseTypes {
		v.oneOf("functionResponseTypes", &r, "ReportBatchItemFailures")
	}
	if d := in.DestinationConfig; d != nil && d.OnFailure != nil {
		v.text("destinationConfig.onFailure.destination", d.OnFailure.Destination, 0, 350, destinationRE, destinationPattern)
	}
	v.listSize("topics", in.Topics, 1)
	for _, t := range in.Topics {
		v.text("topics", &t, 1, 249, topicRE, topicPattern)
	}
	v.listSize("queues", in.Queues, 1)
	v.access("sourceAccessConfigurations", in.SourceAccessConfigurations)
	if s := in.ScalingConfig; s != nil {
		v.number("scalingConfig.maximumConcurrency", s.MaximumConcurrency, 2, 1000)
	}
	if p := in.ProvisionedPollerConfig; p != nil {
		v.number("provisionedPollerConfig.minimumPollers", p.MinimumPollers, 1, 200)
		v.number("provisionedPollerConfig.maximumPollers", p.MaximumPollers, 1, 10_000)
	}
	if d := in.DocumentDBEventSourceConfig; d != nil {
		v.text("documentDBEventSourceConfig.databaseName", d.DatabaseName, 1, 63, nil, "")
		v.oneOf("documentDBEventSourceConfig.fullDocument", d.FullDocument, "UpdateLookup", "Default")
	}
	for _, k := range []*kafkaConfig{in.AmazonManagedKafkaEventSourceConfig, in.SelfManagedKafkaEventSourceConfig} {
		if k != nil {
			v.text("consumerGroupId", k.ConsumerGroupId, 1, 200, accessURIRE, accessURIPattern)
			v.oneOf("consumptionMode", k.ConsumptionMode, "Stream", "Queue")
			if s := k.SchemaRegistryConfig; s != nil {
				v.oneOf("schemaRegistryConfig.eventRecordFormat", s.EventRecordFormat, "JSON", "SOURCE")
				v.access("schemaRegistryConfig.accessConfigs", s.AccessConfigs)
			}
		}
	}
	v.tags(in.Tags)
}

// access checks how a source is logged in to. The service's rules of the URIs are looser than those of its model.
func (v *violations) access(member string, all []sourceAccess) {
	for _, a := range all {
		v.oneOf(member+".member.type", a.Type, accessTypes...)
		v.text(member+".member.uRI", a.URI, 1, 200, accessURIRE, accessURIPattern)
	}
}

func plainAccess(all []sourceAccess) []eventsource.Access {
	if all == nil {
		return nil
	}
	out := make([]eventsource.Access, 0, len(all))
	for _, a := range all {
		out = append(out, eventsource.Access{Type: text(a.Type), URI: text(a.URI)})
	}
	return out
}

// request is what the body says.
func (in *eventSourceInput) request() *eventsource.Request {
	r := &eventsource.Request{ARN: in.EventSourceArn, Enabled: in.Enabled, BatchSize: in.BatchSize, Window: in.MaximumBatchingWindowInSeconds,
		Parallel: in.ParallelizationFactor, Tumbling: in.TumblingWindowInSeconds, MaxAge: in.MaximumRecordAgeInSeconds, MaxRetries: in.MaximumRetryAttempts,
		Bisect: in.BisectBatchOnFunctionError, ResponseTypes: in.FunctionResponseTypes, Start: in.StartingPosition, Topics: in.Topics, Queues: in.Queues,
		Access: plainAccess(in.SourceAccessConfigurations), KMSKey: in.KMSKeyArn}
	if s := in.StartingPositionTimestamp; s != nil {
		at := time.UnixMilli(int64(math.Round(*s * 1000))).UTC()
		r.StartTime = &at
	}
	if s := in.SelfManagedEventSource; s != nil {
		r.Brokers = slices.Concat([]string{}, s.Endpoints[bootstrapServers])
	}
	if d := in.DestinationConfig; d != nil {
		to := ""
		if d.OnFailure != nil {
			to = text(d.OnFailure.Destination)
		}
		r.Destination, r.OnSuccess = &to, d.OnSuccess != nil
	}
	if f := in.FilterCriteria; f != nil {
		r.Filters = []string{}
		for _, p := range f.Filters {
			r.Filters = append(r.Filters, text(p.Pattern))
		}
	}
	if m := in.MetricsConfig; m != nil {
		r.Metrics = m.Metrics
	}
	if s := in.ScalingConfig; s != nil {
		n := 0
		if s.MaximumConcurrency != nil {
			n = *s.MaximumConcurrency
		}
		r.Concurrency = &n
	}
	if p := in.ProvisionedPollerConfig; p != nil {
		r.Pollers = &eventsource.Pollers{Min: number(p.MinimumPollers), Max: number(p.MaximumPollers), Group: text(p.PollerGroupName)}
	}
	for _, k := range []*kafkaConfig{in.AmazonManagedKafkaEventSourceConfig, in.SelfManagedKafkaEventSourceConfig} {
		if k != nil {
			r.Kafka = k.request()
		}
	}
	if d := in.DocumentDBEventSourceConfig; d != nil {
		r.DocumentDB = &eventsource.DocumentDBRequest{Database: d.DatabaseName, Collection: d.CollectionName}
		if d.FullDocument != nil {
			lookup := *d.FullDocument == "UpdateLookup"
			r.DocumentDB.UpdateLookup = &lookup
		}
	}
	return r
}

func (k *kafkaConfig) request() *eventsource.KafkaRequest {
	r := &eventsource.KafkaRequest{GroupID: k.ConsumerGroupId}
	if k.ConsumptionMode != nil {
		queue := *k.ConsumptionMode == "Queue"
		r.Queue = &queue
	}
	if s := k.SchemaRegistryConfig; s != nil {
		r.Schema = &eventsource.Schema{URI: text(s.SchemaRegistryURI), Source: text(s.EventRecordFormat) == "SOURCE", Access: plainAccess(s.AccessConfigs)}
		for _, a := range s.SchemaValidationConfigs {
			r.Schema.Attributes = append(r.Schema.Attributes, text(a.Attribute))
		}
	}
	return r
}

func number(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// some is a pointer to a value, or nil where it is the zero value.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// shownMapping is what the operations answer.
func shownMapping(m *eventsource.Mapping) eventSourceMapping {
	o, s, shown := m.Options, m.Source, m.Shown()
	out := eventSourceMapping{UUID: string(m.ID), EventSourceMappingArn: m.ARN(), EventSourceArn: some(s.ARN), FunctionArn: m.FunctionARN(), State: m.State.Name(),
		StateTransitionReason: m.Reason, LastModified: float64(m.Modified.UnixMilli()) / 1000, LastProcessingResult: some(m.Result), BatchSize: &o.BatchSize,
		StartingPosition: some(string(s.Start)), Topics: s.Topics, Queues: s.Queues, SourceAccessConfigurations: shownAccess(s.Access)}
	if shown.Window {
		out.MaximumBatchingWindowInSeconds = o.Window
	}
	if !s.StartTime.IsZero() {
		out.StartingPositionTimestamp = some(float64(s.StartTime.UnixMilli()) / 1000)
	}
	if shown.Partial {
		out.FunctionResponseTypes = []string{}
		if o.Partial {
			out.FunctionResponseTypes = append(out.FunctionResponseTypes, "ReportBatchItemFailures")
		}
	}
	if shown.Streams {
		out.ParallelizationFactor, out.TumblingWindowInSeconds = &o.Parallel, &o.Tumbling
	}
	if shown.Retries {
		out.MaximumRecordAgeInSeconds, out.MaximumRetryAttempts, out.BisectBatchOnFunctionError = &o.MaxAge, &o.MaxRetries, &o.Bisect
	}
	if shown.Destination {
		out.DestinationConfig = &mappingDestinations{OnFailure: &eventDestination{some(o.OnFailure)}}
	}
	if len(m.Filters) > 0 {
		out.FilterCriteria = &filterCriteria{}
		for _, p := range m.Filters {
			out.FilterCriteria.Filters = append(out.FilterCriteria.Filters, eventFilter{&p})
		}
	}
	if o.MaxConcurrency > 0 {
		out.ScalingConfig = &mappingScaling{&o.MaxConcurrency}
	}
	if p := o.Pollers; p != nil {
		out.ProvisionedPollerConfig = &provisionedPollerConfig{some(p.Min), some(p.Max), some(p.Group)}
	}
	if m.Metrics != nil {
		out.MetricsConfig = &metricsConfig{m.Metrics}
	}
	out.showSource(m)
	return out
}

// showSource shows what only some kinds have.
func (out *eventSourceMapping) showSource(m *eventsource.Mapping) {
	s := m.Source
	kafka := &kafkaConfig{ConsumerGroupId: some(s.GroupID)}
	if s.Queue {
		kafka.ConsumptionMode = some("Queue")
	}
	if c := s.Schema; c != nil {
		format := "JSON"
		if c.Source {
			format = "SOURCE"
		}
		kafka.SchemaRegistryConfig = &schemaRegistry{SchemaRegistryURI: &c.URI, EventRecordFormat: &format, AccessConfigs: shownAccess(c.Access)}
		for _, a := range c.Attributes {
			kafka.SchemaRegistryConfig.SchemaValidationConfigs = append(kafka.SchemaRegistryConfig.SchemaValidationConfigs, schemaValidation{&a})
		}
	}
	switch m.Kind {
	case eventsource.SelfManagedKafka:
		out.SelfManagedEventSource = &selfManaged{map[string][]string{bootstrapServers: s.Brokers}}
		out.SelfManagedKafkaEventSourceConfig = kafka
	case eventsource.MSK:
		out.AmazonManagedKafkaEventSourceConfig = kafka
	case eventsource.DocumentDB:
		full := "Default"
		if s.UpdateLookup {
			full = "UpdateLookup"
		}
		out.DocumentDBEventSourceConfig = &documentDBConfig{&s.Database, some(s.Collection), &full}
	}
}

func shownAccess(all []eventsource.Access) (out []sourceAccess) {
	for _, a := range all {
		out = append(out, sourceAccess{some(a.Type), some(a.URI)})
	}
	return out
}

// mappingID is the last part of a mapping's ARN.
func mappingID(arn string) eventsource.ID {
	return eventsource.ID(strings.ToLower(arn[strings.LastIndexByte(arn, ':')+1:]))
}
