package trigger_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"thaw/internal/golden"
	"thaw/trigger"
)

func snsSamples() map[string]*trigger.SNSMessage {
	subject := "Hello & <welcome>"
	at := trigger.SNSTime(time.Date(2026, 11, 20, 9, 0, 0, 123_456_789, time.UTC))
	base := trigger.SNSMessage{Type: trigger.SNSNotification, MessageID: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", TopicARN: "arn:aws:sns:eu-west-1:123456789012:orders",
		Message: "{\"id\":1,\n\"text\":\"ü <b>\"}", Timestamp: at, SignatureVersion: "1", Signature: "c2lnbmF0dXJl",
		SigningCertURL: "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem", UnsubscribeURL: "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:eu-west-1:123456789012:orders:1"}
	full, fifo, confirmation := base, base, base
	full.Subject = &subject
	full.Attributes = map[string]trigger.SNSAttribute{"a": {Type: "String", Value: "v"}, "b": {Type: "Binary", Value: "AQI="}}
	fifo.SequenceNumber = "10000000000000000007"
	confirmation.Type, confirmation.Token, confirmation.UnsubscribeURL = trigger.SNSSubscriptionConfirmation, "2336412f37", ""
	confirmation.SubscribeURL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:orders&Token=2336412f37"
	return map[string]*trigger.SNSMessage{"1 plain": &base, "2 with subject and attributes": &full, "3 of a FIFO topic": &fifo, "4 confirmation": &confirmation}
}

// S-103: an event has SigningCertUrl, UnsubscribeUrl, a Subject that may be null and one record; what is sent over HTTP has
// SigningCertURL, UnsubscribeURL and no Subject then. What is signed is golden, too.
func TestSNSShapes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	samples := snsSamples()
	for _, name := range []string{"1 plain", "2 with subject and attributes", "3 of a FIFO topic", "4 confirmation"} {
		m := samples[name]
		body, err := m.Body()
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("== " + name + "\n" + string(body) + "\n-- signed\n" + string(m.SignedText()))
		back, err := trigger.ParseSNS(body)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: read back it is %+v, %v", name, back, err)
		}
		if m.Type != trigger.SNSNotification {
			continue
		}
		event, err := m.Event("arn:aws:sns:eu-west-1:123456789012:orders:1")
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("-- event\n" + string(event) + "\n")
		// aws-lambda-go's type is what functions in Go read it with.
		var typed events.SNSEvent
		if err := json.Unmarshal(event, &typed); err != nil || len(typed.Records) != 1 || typed.Records[0].SNS.Message != m.Message ||
			typed.Records[0].EventSubscriptionArn != "arn:aws:sns:eu-west-1:123456789012:orders:1" || typed.Records[0].SNS.Timestamp.UnixMilli() != 1795165200123 {
			t.Errorf("%s: aws-lambda-go reads %+v, %v", name, typed, err)
		}
	}
	golden.Equal(t, "testdata/sns.golden", out.String())
}

// S-103: the members are those of the sample that aws-lambda-go has, and of the samples of SAM.
func TestSNSEventHasTheMembersOfAWSsSamples(t *testing.T) {
	t.Parallel()
	event, err := snsSamples()["2 with subject and attributes"].Event("arn")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "events", "testdata", "sns-event.json"))
	if err != nil {
		t.Fatal(err)
	}
	members := func(b []byte) map[string]string {
		var e struct{ Records []map[string]any }
		if err := json.Unmarshal(b, &e); err != nil || len(e.Records) != 1 {
			t.Fatalf("%v: %s", err, b)
		}
		kinds := map[string]string{}
		for name, v := range e.Records[0] {
			kinds[name] = reflect.TypeOf(v).String()
		}
		for name, v := range e.Records[0]["Sns"].(map[string]any) {
			kinds["Sns."+name] = reflect.TypeOf(v).String()
		}
		return kinds
	}
	got, want := members(event), members(sample)
	for _, name := range []string{"SigningCert", "Unsubscribe"} { // older samples have them in capitals
		if kind, ok := want["Sns."+name+"URL"]; ok {
			delete(want, "Sns."+name+"URL")
			want["Sns."+name+"Url"] = kind
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("members are %v\nAWS's sample has %v", got, want)
	}
}

// What is read is written as it was, and nothing that is read makes it panic.
func FuzzParseSNS(f *testing.F) {
	for _, m := range snsSamples() {
		body, err := m.Body()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"Type":"Notification","MessageId":"1","TopicArn":"a","Timestamp":"t","Subject":null,"Message":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := trigger.ParseSNS(b)
		if err != nil {
			return
		}
		body, err := m.Body()
		if err != nil {
			t.Fatal(err)
		}
		again, err := trigger.ParseSNS(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if !bytes.Equal(again.SignedText(), m.SignedText()) {
			t.Errorf("%q became %q", m.SignedText(), again.SignedText())
		}
		if _, err := m.Event("arn"); err != nil {
			t.Error(err)
		}
	})
}
