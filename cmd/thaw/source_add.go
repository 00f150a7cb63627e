package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/eventsource"
)

// addition is what thaw source add is told.
type addition struct {
	function, arn        string
	brokers              []string
	topic, group, queue  string
	database, collection string
	batch, window        int32
	start                string
	filters, secrets     []string
	unwrap               string
	share, noWait        bool
}

func sourceAddCommand(a *app) *cobra.Command {
	var (
		d  addition
		in *lambda.CreateEventSourceMappingInput
	)
	cmd := &cobra.Command{
		Use:   "add --function FUNCTION --source ARN",
		Short: "Have a function read a queue, a stream or a topic",
		Long: `Makes an event source mapping and waits until the function reads the source. Kafka that has no ARN is given by its brokers and a topic.
Without --secret they are spoken to without TLS and without a login.
A filter is a pattern, or a file that holds one or AWS's FilterCriteria. A secret is a file in DATA/secrets, or of Secrets Manager.
The server's --sources says where a source is whose ARN does not.`,
		Args:    args(cobra.NoArgs),
		Example: "thaw source add --function hello --source arn:aws:sqs:us-east-1:123456789012:orders --batch 5",
	}
	f := cmd.Flags()
	f.StringVar(&d.function, "function", "", "the function, or FUNCTION:QUALIFIER, that reads")
	f.StringVar(&d.arn, "source", "", "ARN of the source")
	f.StringSliceVar(&d.brokers, "broker", nil, "HOST:PORT of a broker of Kafka, instead of --source; can be given several times")
	f.StringVar(&d.topic, "topic", "", "topic of Kafka")
	f.StringVar(&d.group, "group", "", "consumer group of Kafka (default the mapping's id)")
	f.BoolVar(&d.share, "share", false, "read the topic as a queue, without an order: the group is a share group (Kafka 4.2 or later)")
	f.StringVar(&d.queue, "queue", "", "queue of an Amazon MQ broker")
	f.StringVar(&d.database, "database", "", "database of DocumentDB or MongoDB")
	f.StringVar(&d.collection, "collection", "", "collection of it (default all)")
	f.Int32Var(&d.batch, "batch", 0, "most records of an event (default the source's own)")
	f.Int32Var(&d.window, "window", 0, "seconds that an event may wait for more records")
	f.StringVar(&d.start, "start", "", "where a stream or topic is read from: trim-horizon, latest, or a time such as 2026-01-31T12:00:00Z (default latest)")
	f.StringArrayVar(&d.filters, "filter", nil, "FILE or JSON: only records that one of the patterns lets pass; can be given several times")
	f.StringArrayVar(&d.secrets, "secret", nil, "TYPE=NAME, such as basic-auth=prod/kafka: what is logged in with; can be given several times")
	f.StringVar(&d.unwrap, "unwrap", "", "s3: messages are notifications of S3 by a server of objects, and the function gets S3's own event")
	f.BoolVar(&d.noWait, "no-wait", false, "return as soon as the mapping is made")
	complete := func(flag string, of cobra.CompletionFunc) {
		cmd.RegisterFlagCompletionFunc(flag, of) //nolint:errcheck // the flag is there
	}
	complete("function", a.complete(aQualified))
	complete("start", cobra.FixedCompletions([]string{"trim-horizon", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	var kinds []string
	for _, t := range types.SourceAccessType("").Values() {
		kinds = append(kinds, spoken(string(t))+"=")
	}
	complete("secret", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if in, err = d.input(); err != nil {
			return misuse{err}
		}
		if f.Changed("window") {
			in.MaximumBatchingWindowInSeconds = &d.window
		}
		return nil
	}
	return calling(a, cmd, nil, func(c *call) error {
		out, err := c.client.CreateEventSourceMapping(c, in)
		if err != nil {
			return err
		}
		see := c.enabled
		if d.noWait {
			see = c.look
		}
		s, err := see(aws.ToString(out.UUID))
		if err != nil {
			return err
		}
		c.known(s)
		return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "%s reads %s: %s %s\n", s.Function, s.brief(), s.ID, s.State) })
	})
}

// spoken is an API's word as the command line has it: SASL_SCRAM_512_AUTH is sasl-scram-512-auth.
func spoken(word string) string { return strings.ReplaceAll(strings.ToLower(word), "_", "-") }

// unspoken is the reverse.
func unspoken(word string) string { return strings.ReplaceAll(strings.ToUpper(word), "-", "_") }

// input is what the API is told.
func (d *addition) input() (*lambda.CreateEventSourceMappingInput, error) {
	switch {
	case d.function == "":
		return nil, errors.New("--function says which function reads; type: thaw source add --help")
	case d.arn == "" && len(d.brokers) == 0, d.arn != "" && len(d.brokers) > 0:
		return nil, errors.New("one of --source ARN and --broker HOST:PORT says what is read; type: thaw source add --help")
	case len(d.brokers) > 0 && d.topic == "":
		return nil, errors.New("--topic says which topic of the brokers is read")
	}
	in := &lambda.CreateEventSourceMappingInput{FunctionName: &d.function, EventSourceArn: orNil(d.arn)}
	if d.unwrap != "" {
		in.Tags = map[string]string{eventsource.UnwrapTag: d.unwrap}
	}
	if d.batch > 0 {
		in.BatchSize = &d.batch
	}
	if len(d.brokers) > 0 {
		in.SelfManagedEventSource = &types.SelfManagedEventSource{Endpoints: map[string][]string{brokersKey: d.brokers}}
	}
	if d.topic != "" {
		in.Topics = []string{d.topic}
	}
	switch {
	case d.share && (len(d.brokers) == 0 || d.start != ""):
		return nil, errors.New("--share is of a topic that --broker names, and has no --start: the cluster says where a share group begins (share.auto.offset.reset)")
	case d.group == "" && !d.share:
	case len(d.brokers) > 0:
		in.SelfManagedKafkaEventSourceConfig = &types.SelfManagedKafkaEventSourceConfig{ConsumerGroupId: orNil(d.group)}
		if d.share {
			in.SelfManagedKafkaEventSourceConfig.ConsumptionMode = types.KafkaEventSourceMappingConsumptionModeQueue
		}
	default:
		in.AmazonManagedKafkaEventSourceConfig = &types.AmazonManagedKafkaEventSourceConfig{ConsumerGroupId: &d.group}
	}
	if d.queue != "" {
		in.Queues = []string{d.queue}
	}
	if d.database != "" {
		in.DocumentDBEventSourceConfig = &types.DocumentDBEventSourceConfig{DatabaseName: &d.database, CollectionName: orNil(d.collection)}
	}
	if err := d.startOf(in); err != nil {
		return nil, err
	}
	for _, text := range d.filters {
		patterns, err := patternsOf(text)
		if err != nil {
			return nil, err
		}
		if in.FilterCriteria == nil {
			in.FilterCriteria = &types.FilterCriteria{}
		}
		for _, p := range patterns {
			in.FilterCriteria.Filters = append(in.FilterCriteria.Filters, types.Filter{Pattern: &p})
		}
	}
	for _, text := range d.secrets {
		typ, name, ok := strings.Cut(text, "=")
		kind := types.SourceAccessType(unspoken(typ))
		uri := &name
		if kind == types.SourceAccessTypeIamAuth || kind == types.SourceAccessTypeIamOauthbearerAuth { // without a secret
			ok, uri = name == "", nil
		} else if name == "" {
			ok = false
		}
		if !ok || !slices.Contains(kind.Values(), kind) {
			return nil, fmt.Errorf("--secret %s is not of the form TYPE=NAME with a type such as basic-auth or sasl-scram-512-auth, or iam-auth alone", typ)
		}
		in.SourceAccessConfigurations = append(in.SourceAccessConfigurations, types.SourceAccessConfiguration{Type: kind, URI: uri})
	}
	if len(d.brokers) > 0 && len(d.secrets) == 0 { // the API wants an entry; a subnet is one that nothing is logged in with
		in.SourceAccessConfigurations = []types.SourceAccessConfiguration{{Type: types.SourceAccessTypeVpcSubnet, URI: aws.String("subnet:none")}}
	}
	return in, nil
}

// startOf says where the reading begins. A queue has no such place.
func (d *addition) startOf(in *lambda.CreateEventSourceMappingInput) error {
	service := ""
	if parts := strings.Split(d.arn, ":"); len(parts) > 2 {
		service = parts[2]
	}
	switch kind := types.EventSourcePosition(unspoken(d.start)); {
	case d.share, d.start == "" && (service == "sqs" || service == "mq"):
	case d.start == "":
		in.StartingPosition = types.EventSourcePositionLatest
	case kind == types.EventSourcePositionTrimHorizon, kind == types.EventSourcePositionLatest:
		in.StartingPosition = kind
	default:
		at, err := time.Parse(time.RFC3339, d.start)
		if err != nil {
			return fmt.Errorf("--start %s is neither trim-horizon nor latest nor a time such as 2026-01-31T12:00:00Z", d.start)
		}
		in.StartingPosition, in.StartingPositionTimestamp = types.EventSourcePositionAtTimestamp, &at
	}
	return nil
}

// patternsOf reads a filter that is given as JSON or as a file: a pattern, or AWS's FilterCriteria.
func patternsOf(text string) ([]string, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, fmt.Errorf("--filter is neither JSON nor a file: %w", err)
		}
		text = string(b)
	}
	var criteria struct{ Filters []struct{ Pattern string } }
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("--filter %s: %w", text, err)
	}
	if _, ok := members["Filters"]; !ok || len(members) > 1 || json.Unmarshal([]byte(text), &criteria) != nil {
		return []string{text}, nil
	}
	var all []string
	for _, f := range criteria.Filters {
		all = append(all, f.Pattern)
	}
	return all, nil
}

const (
	lookEvery = 100 * time.Millisecond
	// troubleLimit is how long a source may have a problem until who waits for it is told.
	troubleLimit = 3 * time.Second
)

// look reads a mapping again.
func (c *call) look(id string) (*shownSource, error) {
	out, err := c.client.GetEventSourceMapping(c, &lambda.GetEventSourceMappingInput{UUID: &id})
	if err != nil {
		return nil, err
	}
	return sourceOf(&types.EventSourceMappingConfiguration{UUID: out.UUID, EventSourceArn: out.EventSourceArn, State: out.State, StateTransitionReason: out.StateTransitionReason,
		LastProcessingResult: out.LastProcessingResult, BatchSize: out.BatchSize, MaximumBatchingWindowInSeconds: out.MaximumBatchingWindowInSeconds,
		StartingPosition: out.StartingPosition, StartingPositionTimestamp: out.StartingPositionTimestamp, LastModified: out.LastModified, Topics: out.Topics, Queues: out.Queues,
		FunctionArn: out.FunctionArn, SelfManagedEventSource: out.SelfManagedEventSource, DocumentDBEventSourceConfig: out.DocumentDBEventSourceConfig,
		FilterCriteria: out.FilterCriteria, SourceAccessConfigurations: out.SourceAccessConfigurations}), nil
}

// enabled waits until a mapping is Enabled.
func (c *call) enabled(id string) (*shownSource, error) {
	var since time.Time // of the problem
	for {
		s, err := c.look(id)
		if err != nil {
			return nil, err
		}
		switch {
		case s.State == "Enabled":
			return s, nil
		case !strings.HasPrefix(s.Result, "PROBLEM"):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > troubleLimit:
			return nil, fmt.Errorf("%s is %s and goes on trying: %s; type: thaw source show %s", s.ID, s.State, strings.TrimSuffix(s.Result, "."), s.ID)
		}
		if err := pause(c, lookEvery); err != nil {
			return nil, fmt.Errorf("%s is %s: %w", s.ID, s.State, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func sourceRmCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "rm MAPPING",
		Aliases: []string{"delete"},
		Short:   "Delete an event source mapping; what is in flight ends first",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw source rm hello",
	}, []operand{aMapping}, func(c *call) error {
		s, err := c.mapping()
		if err != nil {
			return err
		}
		c.known(s) // as long as the server knows which broker it is
		if s.State != "Deleting" {
			if _, err := c.client.DeleteEventSourceMapping(c, &lambda.DeleteEventSourceMappingInput{UUID: aws.String(s.ID)}); err != nil {
				return err
			}
		}
		for {
			_, err := c.look(s.ID)
			if errors.As(err, new(*types.ResourceNotFoundException)) {
				break
			}
			if err == nil {
				err = pause(c, lookEvery)
			}
			if err != nil {
				return err
			}
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "deleted %s, which read %s for %s\n", s.ID, s.brief(), s.Function) })
	})
}
