package dynamodb

import (
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"thaw/eventsource"
)

// event is a record as the handler gets it, members in the order that was recorded.
type event struct {
	ID        string    `json:"eventID"`
	Name      string    `json:"eventName"`
	Version   string    `json:"eventVersion"`
	Source    string    `json:"eventSource"`
	Region    string    `json:"awsRegion"`
	Change    change    `json:"dynamodb"`
	Identity  *identity `json:"userIdentity,omitempty"`
	SourceARN string    `json:"eventSourceARN"`
}

type change struct {
	At       int64          `json:"ApproximateCreationDateTime"`
	Keys     map[string]any `json:"Keys,omitempty"`
	NewImage map[string]any `json:"NewImage,omitempty"`
	OldImage map[string]any `json:"OldImage,omitempty"`
	Sequence string         `json:"SequenceNumber"`
	Size     int64          `json:"SizeBytes"`
	View     string         `json:"StreamViewType"`
}

type identity struct {
	PrincipalID string `json:"principalId"`
	Type        string `json:"type"`
}

func (f *fetcher) record(r *types.Record) *eventsource.Record {
	e := event{
		ID: aws.ToString(r.EventID), Name: string(r.EventName), Version: aws.ToString(r.EventVersion), Source: "aws:dynamodb",
		Region: f.m.Region(), SourceARN: f.m.Source.ARN,
	}
	if u := r.UserIdentity; u != nil {
		e.Identity = &identity{aws.ToString(u.PrincipalId), aws.ToString(u.Type)}
	}
	out := &eventsource.Record{Shard: f.shard}
	if c := r.Dynamodb; c != nil {
		out.Arrived = aws.ToTime(c.ApproximateCreationDateTime)
		e.Change = change{
			At: out.Arrived.Unix(), Keys: item(c.Keys), NewImage: item(c.NewImage), OldImage: item(c.OldImage),
			Sequence: aws.ToString(c.SequenceNumber), Size: aws.ToInt64(c.SizeBytes), View: string(c.StreamViewType),
		}
	}
	text := marshal(e)
	out.ID, out.Position, out.Event = e.Change.Sequence, e.Change.Sequence, text
	// Changes of one item stay in order however many batches are in flight.
	out.Key = string(marshal(e.Change.Keys))
	out.Filtered = func() eventsource.Filtered { return eventsource.Filtered{Meta: text} }
	return out
}

func item(m map[string]types.AttributeValue) map[string]any {
	if len(m) == 0 {
		return nil
	}
	all := make(map[string]any, len(m))
	for name, v := range m {
		all[name] = attribute(v)
	}
	return all
}

// attribute writes a value as DynamoDB's JSON does: its type and the value. Bytes become base64.
func attribute(v types.AttributeValue) map[string]any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": v.Value}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": v.Value}
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}
	case *types.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}
	case *types.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}
	case *types.AttributeValueMemberL:
		list := make([]any, 0, len(v.Value))
		for _, e := range v.Value {
			list = append(list, attribute(e))
		}
		return map[string]any{"L": list}
	case *types.AttributeValueMemberM:
		m := item(v.Value)
		if m == nil {
			m = map[string]any{}
		}
		return map[string]any{"M": m}
	}
	return map[string]any{"NULL": true} // a type that this client does not know
}

// marshal leaves < and & as they are, as the service does.
func marshal(v any) json.RawMessage {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // texts and numbers
	}
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}
