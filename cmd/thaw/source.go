package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/eventsource"
)

// shownSource is an event source mapping as -o json prints it.
type shownSource struct {
	ID       string        `json:"id"`
	Function string        `json:"function"` // NAME or NAME:QUALIFIER
	Kind     string        `json:"kind"`
	Source   string        `json:"source"`       // ARN, or the brokers of a cluster
	Of       string        `json:"of,omitempty"` // topic, queue, or database and collection
	State    string        `json:"state"`
	Reason   string        `json:"reason,omitempty"`
	Result   string        `json:"result,omitempty"` // last one
	Batch    int32         `json:"batch"`
	WindowS  *int32        `json:"windowSeconds,omitempty"`
	Start    string        `json:"start,omitempty"`
	Filters  []string      `json:"filters,omitempty"`
	Secrets  []string      `json:"secrets,omitempty"` // TYPE=NAME
	Modified time.Time     `json:"modified,omitzero"`
	Server   *admin.Source `json:"server,omitempty"` // nil: the server's socket cannot be asked
	Next     string        `json:"next,omitempty"`   // what to type about what is wrong
}

func sourceOf(m *types.EventSourceMappingConfiguration) *shownSource {
	s := &shownSource{ID: aws.ToString(m.UUID), Source: aws.ToString(m.EventSourceArn), State: aws.ToString(m.State), Reason: aws.ToString(m.StateTransitionReason),
		Result: aws.ToString(m.LastProcessingResult), Batch: aws.ToInt32(m.BatchSize), WindowS: m.MaximumBatchingWindowInSeconds, Start: string(m.StartingPosition),
		Modified: aws.ToTime(m.LastModified), Of: strings.Join(append(m.Topics, m.Queues...), ", ")}
	name, qualifier := qualifiedName(aws.ToString(m.FunctionArn))
	s.Function, _ = nameOf(name)
	if qualifier != "" {
		s.Function += ":" + qualifier
	}
	var brokers []string
	if m.SelfManagedEventSource != nil {
		brokers = m.SelfManagedEventSource.Endpoints[brokersKey]
		s.Source = strings.Join(brokers, ",")
	}
	if d := m.DocumentDBEventSourceConfig; d != nil {
		s.Of = strings.TrimSuffix(aws.ToString(d.DatabaseName)+"."+aws.ToString(d.CollectionName), ".")
	}
	s.Kind = string(kindOf(aws.ToString(m.EventSourceArn), brokers))
	if m.StartingPositionTimestamp != nil {
		s.Start = m.StartingPositionTimestamp.UTC().Format(time.RFC3339)
	}
	if m.FilterCriteria != nil {
		for _, f := range m.FilterCriteria.Filters {
			s.Filters = append(s.Filters, aws.ToString(f.Pattern))
		}
	}
	for _, a := range m.SourceAccessConfigurations {
		if a.Type != types.SourceAccessTypeVpcSubnet && a.Type != types.SourceAccessTypeVpcSecurityGroup { // networks, which say nothing to a server
			s.Secrets = append(s.Secrets, string(a.Type)+"="+aws.ToString(a.URI))
		}
	}
	return s
}

// brokersKey is the API's name of a list of brokers.
const brokersKey = string(types.EndPointTypeKafkaBootstrapServers)

// kindOf is the kind that an ARN tells. The two brokers of Amazon MQ, which it does not tell apart, have one form of record.
func kindOf(arn string, brokers []string) eventsource.Kind {
	kind, err := eventsource.KindOf(arn, brokers, nil)
	if err != nil {
		return eventsource.RabbitMQ
	}
	return kind
}

// known adds what the server's socket tells of mappings.
func (c *call) known(list ...*shownSource) {
	if c.server == nil {
		return
	}
	all, err := c.server.Sources(c)
	if err != nil {
		return // the API's part is shown
	}
	for _, s := range list {
		for i := range all {
			if all[i].ID == s.ID {
				s.Server, s.Kind = &all[i], all[i].Kind
				s.Next = s.next()
			}
		}
	}
}

// unwell says whether the last thing that was heard of the mapping is an error.
func (s *shownSource) unwell() bool {
	if s.Server == nil || s.Server.Trouble == nil {
		return strings.HasPrefix(s.Result, "PROBLEM")
	}
	last := s.Server.Last
	return strings.HasPrefix(s.Result, "PROBLEM") || last != nil && last.Done < last.Records
}

// next is what to type about the last error.
func (s *shownSource) next() string {
	if s.Server == nil || s.Server.Trouble == nil || !s.unwell() {
		return ""
	}
	name, _ := nameOf(s.Function)
	switch t := s.Server.Trouble; t.Cause {
	case "function":
		return "thaw logs " + name + " --since 1h --filter " + cmp.Or(lastRequest(s.Server), "ERROR")
	case "capacity":
		return "thaw fn show " + name
	case "absence":
		if _, alias, ok := strings.Cut(s.Function, ":"); ok && strings.Contains(s.Server.Trouble.Text, " "+alias+".") {
			return "thaw alias set " + s.Function + " VERSION, or: thaw source rm " + s.ID
		}
		return "thaw deploy FOLDER --name " + name + ", or: thaw source rm " + s.ID
	case "destination":
		return "thaw source show " + s.ID + " -o json"
	}
	if len(s.Secrets) > 0 && strings.HasPrefix(s.Server.Trouble.Code, "EVENT_SOURCE_AUTH") {
		return "put the right secret into DATA/secrets/" + s.Secrets[0][strings.Index(s.Secrets[0], "=")+1:] + ", which is read again"
	}
	if strings.Contains(s.Server.Trouble.Text, "does not exist") {
		return "thaw source rm " + s.ID
	}
	if s.Kind == string(eventsource.SelfManagedKafka) { // the mapping itself says where it is
		if host, port, err := net.SplitHostPort(strings.Split(s.Source, ",")[0]); err == nil {
			return "nc -vz " + host + " " + port
		}
	}
	return "thaw config --running"
}

// lastRequest is the pattern that finds the last batch in the log.
func lastRequest(s *admin.Source) string {
	if s.Last == nil {
		return ""
	}
	return `'"` + s.Last.RequestID + `"'` // a pattern takes hyphens for what must not be
}

func sourceCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "source",
		Short: "Event sources that functions read: queues, streams and topics",
		Long: `An event source mapping has a function read a queue, a stream or a topic. It is named by its id, by the beginning of that, or by its
function where that has only one.`,
		Example: "thaw source ls",
	}, sourceLsCommand(a), sourceShowCommand(a), sourceAddCommand(a), sourceRmCommand(a), sourceTestCommand(a))
}

func sourceLsCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "ls [FUNCTION]",
		Aliases: []string{"list"},
		Short:   "List the event source mappings of a function, or of all functions",
		Long: `Lists event source mappings. LAG is how many records wait in the source (of Kinesis and DynamoDB: how far, in time, reading is behind), OLDEST the age of the oldest record that was read and is not done
with, IN FLIGHT how many batches functions have now; a server that is named by --endpoint does not tell these.`,
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw source ls",
	}, []operand{aFunction}, func(c *call) error {
		function := ""
		if len(c.names) > 0 {
			function = c.names[0]
		}
		list := []*shownSource{}
		for _, client := range c.regions() {
			all, err := mappingsOf(c, client, function)
			if err != nil {
				return err
			}
			for i := range all {
				list = append(list, sourceOf(&all[i]))
			}
		}
		c.known(list...)
		return a.print(list, func(w io.Writer) { table(w, sourceRows(list, time.Now())) })
	})
}

func sourceRows(list []*shownSource, now time.Time) [][]string {
	rows := [][]string{{"MAPPING", "FUNCTION", "SOURCE", "STATE", "LAG", "OLDEST", "POLLERS", "IN FLIGHT", "LAST RESULT"}}
	for _, s := range list {
		lag, oldest, pollers, inFlight := "-", "-", "-", "-"
		if v := s.Server; v != nil {
			lag, oldest, pollers, inFlight = waiting(v.Lag, v.BehindMs), age(v.Oldest, now), strconv.Itoa(v.Pollers), strconv.Itoa(v.InFlight)
		}
		rows = append(rows, []string{s.ID[:min(8, len(s.ID))], s.Function, s.brief(), s.State, lag, oldest, pollers, inFlight, cmp.Or(s.last(), "-")})
	}
	return rows
}

// brief is the source in a few words: sqs orders.
func (s *shownSource) brief() string {
	of := s.Of
	if of == "" {
		of = s.Source[strings.LastIndex(s.Source, ":")+1:]
		// table/NAME/stream/LABEL, stream/NAME, stream/NAME/consumer/NAME:TIME: labels and consumers have colons
		if arn := strings.SplitN(s.Source, ":", 6); len(arn) == 6 {
			switch parts := strings.Split(arn[5], "/"); {
			case len(parts) > 3 && parts[2] == "consumer":
				consumer, _, _ := strings.Cut(parts[3], ":")
				of = parts[1] + "/" + consumer
			case len(parts) > 1:
				of = parts[1]
			}
		}
	}
	return s.Kind + " " + of
}

// last says how the last batch ended, or what is wrong.
func (s *shownSource) last() string {
	v := s.Server
	switch {
	case v != nil && v.Trouble != nil && s.unwell():
		return v.Trouble.Text
	case s.Result != "":
		return s.Result
	case v != nil && v.Last != nil:
		return "OK"
	}
	return ""
}

// waiting is what waits in the source: so many records, or, where the source counts time, those of so long a time.
func waiting(records, behindMs *int64) string {
	switch {
	case behindMs != nil && *behindMs > 0:
		return ago(time.Duration(*behindMs) * time.Millisecond)
	case records != nil:
		return strconv.FormatInt(*records, 10)
	}
	return "-"
}

func age(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return ago(now.Sub(at))
}

func sourceShowCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "show MAPPING",
		Short:   "Show an event source mapping, how far it is, and what is wrong",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw source show hello",
	}, []operand{aMapping}, func(c *call) error {
		s, err := c.mapping()
		if err != nil {
			return err
		}
		c.known(s)
		return a.print(s, func(w io.Writer) { s.print(w, time.Now()) })
	})
}

// print shows the mapping to people.
func (s *shownSource) print(w io.Writer, now time.Time) {
	window := ""
	if s.WindowS != nil && *s.WindowS > 0 {
		window = fmt.Sprintf(", after %d s at the latest", *s.WindowS)
	}
	pairs := []string{"mapping", s.ID, "function", s.Function, "kind", s.Kind, "source", s.Source, "of", s.Of, "state", s.State, "reason", s.Reason, "last result", s.last(),
		"batch", fmt.Sprintf("up to %d records%s", s.Batch, window), "start", s.Start, "filters", strings.Join(s.Filters, " or "), "secrets", strings.Join(s.Secrets, ", "),
		"changed", age(s.Modified, now) + " ago"}
	v := s.Server
	if v == nil {
		fields(w, pairs...)
		return
	}
	last, trouble := "", ""
	if b := v.Last; b != nil {
		last = fmt.Sprintf("%s ago, %d of %d records done, request %s", ago(now.Sub(b.At)), b.Done, b.Records, b.RequestID)
	}
	if t := v.Trouble; t != nil {
		trouble = fmt.Sprintf("%s ago: %s", ago(now.Sub(t.At)), t.Text)
		if t.Detail != "" {
			trouble += " (" + t.Detail + ")"
		}
	}
	held := "nothing"
	if v.Held > 0 {
		held = fmt.Sprintf("%d records, the oldest %s old", v.Held, age(v.Oldest, now))
	}
	fields(w, append(pairs, "lag", waiting(v.Lag, v.BehindMs), "in hand", held, "pollers", strconv.Itoa(v.Pollers),
		"in flight", fmt.Sprintf("%d batches", v.InFlight), "last batch", last, "last error", trouble, "now type", s.Next)...)
	if len(v.Shards) > 0 {
		rows := [][]string{{"SHARD", "LAG", "IN HAND", "OLDEST"}}
		for _, sh := range v.Shards {
			rows = append(rows, []string{sh.ID, waiting(sh.Lag, sh.BehindMs), strconv.Itoa(sh.Held), age(sh.Oldest, now)})
		}
		table(w, rows)
	}
}

// mappingsOf are the event source mappings of a function, or of the region.
func mappingsOf(ctx context.Context, client *lambda.Client, function string) (list []types.EventSourceMappingConfiguration, err error) {
	for p := lambda.NewListEventSourceMappingsPaginator(client, &lambda.ListEventSourceMappingsInput{FunctionName: orNil(function)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return list, err
		}
		list = append(list, page.EventSourceMappings...)
	}
	return list, nil
}

// regions are clients of the regions that are looked at: the one that was named, or all that have event source mappings.
func (c *call) regions() []*lambda.Client {
	all := []*lambda.Client{c.client}
	if !c.anyRegion {
		return all
	}
	list, err := c.server.Sources(c)
	if err != nil {
		return all
	}
	known := map[string]bool{c.client.Options().Region: true}
	for _, s := range list {
		if !known[s.Region] {
			known[s.Region] = true
			all = append(all, lambda.New(c.client.Options(), func(o *lambda.Options) { o.Region = s.Region }))
		}
	}
	return all
}

// mapping is the one that the first argument names. From then on the client is that of its region.
func (c *call) mapping() (*shownSource, error) {
	var found []*shownSource
	for _, client := range c.regions() {
		all, err := mappingsOf(c, client, "")
		if err != nil {
			return nil, err
		}
		for i := range all {
			s := sourceOf(&all[i])
			name, _ := nameOf(s.Function)
			given := c.names[0]
			if s.ID != given && (given == "" || !strings.HasPrefix(s.ID, given)) && s.Function != given && name != given {
				continue
			}
			c.client = client
			if s.ID == given {
				return s, nil
			}
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no event source mapping %s; type: thaw source ls", c.names[0])
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, s := range found {
		ids = append(ids, s.ID+" ("+s.brief()+")")
	}
	return nil, misuse{fmt.Errorf("%s names several event source mappings; say which: %s", c.names[0], strings.Join(ids, ", "))}
}
