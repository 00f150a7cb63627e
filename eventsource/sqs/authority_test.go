package sqs

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"thaw/eventsource"
)

// Queues behind an authority of one's own are found as every client of AWS finds them.
func TestQueueBehindAnAuthorityOfOnesOwn(t *testing.T) { // it sets variables, so it runs alone
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch w.Header().Set("Content-Type", "application/x-amz-json-1.0"); r.Header.Get("X-Amz-Target") {
		case "AmazonSQS.GetQueueUrl":
			w.Write([]byte(`{"QueueUrl": "https://` + r.Host + `/q"}`)) //nolint:errcheck // the test fails then
		default:
			w.Write([]byte(`{"Attributes": {"VisibilityTimeout": "30"}}`)) //nolint:errcheck // the test fails then
		}
	}))
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"AWS_CA_BUNDLE": bundle, "AWS_ENDPOINT_URL_SQS": server.URL, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"} {
		t.Setenv(k, v)
	}
	m := &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: "arn:aws:sqs:eu-west-1:123456789012:q"}}
	if err := New().Check(t.Context(), m, eventsource.Facts{}); err != nil {
		t.Error(err)
	}
}
