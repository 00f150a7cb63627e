package node

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"thaw/async"
	"thaw/destination"
	"thaw/eventsource"
	"thaw/eventsource/activemq"
	"thaw/eventsource/dynamodb"
	"thaw/eventsource/kafka"
	"thaw/eventsource/kinesis"
	"thaw/eventsource/mongodb"
	"thaw/eventsource/poller"
	"thaw/eventsource/rabbitmq"
	"thaw/eventsource/secret"
	"thaw/eventsource/sqs"
	"thaw/internal/awsconfig"
	"thaw/jetstream"
)

// drivers are the sources that this server can read, by the kind of their mappings. A new source gets its line here; one
// that has an end gets it in n.undo.
func (n *Node) drivers(shared sourceParts) map[eventsource.Kind]eventsource.Driver {
	queues := sqs.New()
	n.undo.Add(func() error { queues.Close(); return nil })
	kafkas := kafka.New(shared.Secrets, shared.Endpoints, awsconfig.Load)
	return map[eventsource.Kind]eventsource.Driver{
		eventsource.SQS:              queues,
		eventsource.Kinesis:          kinesis.New(),
		eventsource.DynamoDB:         dynamodb.New(),
		eventsource.MSK:              kafkas,
		eventsource.SelfManagedKafka: kafkas,
		eventsource.ActiveMQ:         activemq.New(shared.Secrets, shared.Endpoints),
		eventsource.RabbitMQ:         rabbitmq.New(shared.Secrets, shared.Endpoints),
		eventsource.DocumentDB:       mongodb.New(shared.Secrets, shared.Endpoints),
	}
}

// sourceParts are what sources share.
type sourceParts struct {
	Secrets   eventsource.Secrets
	Endpoints eventsource.Endpoints
}

// openSources has event source mappings run, those of before first.
func (n *Node) openSources(ctx context.Context, store *jetstream.Store) error {
	records, err := store.Mappings(ctx)
	if err != nil {
		return err
	}
	leases, err := store.Leases(ctx)
	if err != nil {
		return err
	}
	n.undo.Add(func() error { leases.Close(); return nil })
	addresses, err := parseAddresses(n.cfg.Sources)
	if err != nil {
		return err
	}
	parts := sourceParts{Secrets: &secret.Finder{Dir: filepath.Join(n.cfg.DataDir, "secrets")}, Endpoints: addresses}
	n.sources, err = poller.Open(ctx, poller.Options{Records: records, Checkpoints: records, Leases: leases, Drivers: n.drivers(parts), Endpoints: addresses, Invoker: n.plane.Invoker(),
		View: n.plane.View(), Sender: failures{n.sender}, Metrics: n.metrics.of.sources, Log: n.log})
	if err != nil {
		return err
	}
	n.metrics.registry.MustRegister(lagCollector(n.sources.Now))
	n.undo.Add(func() error { // when opening fails; Close has waited already
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.sources.Close(ctx) //nolint:errcheck // what is in flight comes again
		return nil
	})
	return nil
}

// addresses implements eventsource.Endpoints.
type addresses map[string]string

// Endpoint implements eventsource.Endpoints.
func (a addresses) Endpoint(arn string) (string, bool) {
	at, ok := a[arn]
	return at, ok
}

// parseAddresses reads ARN=URL, separated by blanks.
func parseAddresses(text string) (addresses, error) {
	all := addresses{}
	for _, one := range strings.Fields(text) {
		arn, at, ok := strings.Cut(one, "=")
		// Several hosts with ports, as Kafka and MongoDB have them, are no host to the parser: the scheme is enough.
		scheme, _, hasScheme := strings.Cut(at, "://")
		if _, err := url.Parse(scheme + "://h"); !ok || !hasScheme || err != nil || !strings.HasPrefix(arn, "arn:") {
			return nil, fmt.Errorf("sources: %q is not ARN=URL", one)
		}
		all[arn] = at
	}
	return all, nil
}

// failures tells failure destinations of event source mappings.
type failures struct{ *destination.Sender }

// Send implements poller.Sender.
func (s failures) Send(ctx context.Context, to string, f *eventsource.Failure) error {
	m := &async.Message{Target: async.Target{ARN: to}, FunctionARN: f.Mapping.FunctionARN(), FunctionName: f.Mapping.Function.Name, At: f.At,
		Object: f.Key(), Body: f.Body(strings.HasPrefix(to, "arn:") && strings.Split(to, ":")[2] == "s3")}
	return s.Sender.Send(ctx, m)
}
