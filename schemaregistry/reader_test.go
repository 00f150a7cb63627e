package schemaregistry_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"thaw/internal/wholebody"
	"thaw/schemaregistry"
)

const (
	avroSchema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"cents","type":"long"},
		{"name":"note","type":["null","string"],"default":null},{"name":"tags","type":{"type":"array","items":"string"}},
		{"name":"raw","type":"bytes"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
	protoSchema = `syntax = "proto3";
		package shop;
		import "google/protobuf/timestamp.proto";
		message Address { string city = 1; }
		message Order {
			message Line { string sku = 1; int32 amount = 2; }
			string order_id = 1;
			int64 cents = 2;
			repeated Line lines = 3;
			Address to = 4;
			google.protobuf.Timestamp at = 5;
		}`
	// The same, as confluent-kafka 2.16.1 registers it: the compiled file in base64.
	protoDescriptor = `CgtvcmRlci5wcm90bxIEc2hvcBofZ29vZ2xlL3Byb3RvYnVmL3RpbWVzdGFtcC5wcm90byIXCgdBZGRyZXNzEgwKBGNpdHkYASABKAki` +
		`sQEKBU9yZGVyEhAKCG9yZGVyX2lkGAEgASgJEg0KBWNlbnRzGAIgASgDEh8KBWxpbmVzGAMgAygLMhAuc2hvcC5PcmRlci5MaW5lEhkKAnRvGAQg` +
		`ASgLMg0uc2hvcC5BZGRyZXNzEiYKAmF0GAUgASgLMhouZ29vZ2xlLnByb3RvYnVmLlRpbWVzdGFtcBojCgRMaW5lEgsKA3NrdRgBIAEoCRIOCgZh` +
		`bW91bnQYAiABKAViBnByb3RvMw==`
	jsonSchema = `{"$schema":"http://json-schema.org/draft-07/schema#","title":"Order","type":"object",
		"properties":{"id":{"type":"string"},"cents":{"type":"integer"}},"required":["id"]}`

	// What confluent-kafka 2.16.1 for Python writes of these schemas, behind the header.
	avroData  = "066f2d31c4130208676966740402610262000400fff6fbf882bf68"
	protoData = "0a036f2d3110e2091a050a0173100222060a044c756e642a0b08c8affbc80610c0a9d33a"
	jsonData  = "7b226964223a226f2d31222c2263656e7473223a313235307d"

	avroJSON  = `{"id":"o-1","cents":1250,"note":"gift","tags":["a","b"],"raw":"\u0000\u00ff","at":1795165200123}`
	protoJSON = `{"orderId":"o-1","cents":"1250","lines":[{"sku":"s","amount":2}],"to":{"city":"Lund"},"at":"2025-11-20T08:56:40.123Z"}`
	orderJSON = `{"id":"o-1","cents":1250}`
)

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// confluent starts a registry with the three schemas as 1, 2 and 3, the compiled file as 4, and what is wrong from 5 on.
func confluent(t *testing.T) (*srfake.Registry, schemaregistry.Registry) {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	for id, s := range []sr.Schema{
		1: {Schema: avroSchema},
		2: {Schema: protoSchema, Type: sr.TypeProtobuf},
		3: {Schema: jsonSchema, Type: sr.TypeJSON},
		4: {Schema: protoDescriptor, Type: sr.TypeProtobuf},
		5: {Schema: `{"$ref":"file:///etc/passwd"}`, Type: sr.TypeJSON},
		6: {Schema: `syntax = "proto3"; import "missing.proto"; message A {}`, Type: sr.TypeProtobuf},
	} {
		if id > 0 {
			fake.SeedSchema("s"+string(rune('0'+id)), 1, id, s)
		}
	}
	r, err := schemaregistry.NewConfluent(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	return fake, r
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%q: %v", got, err)
		return
	}
	_ = json.Unmarshal([]byte(want), &w)
	gb, _ := json.Marshal(g)
	wb, _ := json.Marshal(w)
	if !bytes.Equal(gb, wb) {
		t.Errorf("got %s, want %s", gb, wb)
	}
}

func TestConfluent(t *testing.T) {
	_, registry := confluent(t)
	asJSON := schemaregistry.NewReader(registry, true)
	asSource := schemaregistry.NewReader(registry, false)
	for name, c := range map[string]struct{ header, data, json, id, language string }{
		"avro":                 {"0000000001", avroData, avroJSON, "1", "AVRO"},
		"protobuf":             {"00000000020202", protoData, protoJSON, "2", "PROTOBUF"},
		"compiled protobuf":    {"00000000040202", protoData, protoJSON, "4", "PROTOBUF"},
		"json":                 {"0000000003", jsonData, orderJSON, "3", "JSON"},
		"first of a file":      {"000000000200", "0a044c756e64", `{"city":"Lund"}`, "2", "PROTOBUF"},
		"a message in another": {"0000000002040200", "0a01731002", `{"sku":"s","amount":2}`, "2", "PROTOBUF"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time out of memory
				got, m, err := asJSON.Read(t.Context(), fromHex(t, c.header+c.data))
				if err != nil {
					t.Fatal(err)
				}
				sameJSON(t, got, c.json)
				if m.SchemaID != c.id || string(m.DataFormat) != c.language {
					t.Errorf("metadata %+v", m)
				}
			}
			got, _, err := asSource.Read(t.Context(), fromHex(t, c.header+c.data))
			if err != nil || hex.EncodeToString(got) != c.data {
				t.Errorf("as written: %x, %v, want %s", got, err, c.data)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	_, registry := confluent(t)
	r := schemaregistry.NewReader(registry, true)
	for name, c := range map[string]struct {
		data   string
		reason schemaregistry.Reason
		text   string
	}{
		"no header":               {"7b7d", schemaregistry.DeserializationError, "do not begin with"},
		"nothing":                 {"", schemaregistry.DeserializationError, "do not begin with"},
		"unknown schema":          {"0000000063" + avroData, schemaregistry.SchemaNotFound, "schema 99"},
		"cut":                     {"0000000001" + avroData[:20], schemaregistry.DeserializationError, "schema 1"},
		"a number of no size":     {"00000000037b226964223a226f2d31222c2263656e7473223a316531303030303030307d", schemaregistry.DeserializationError, "too large"},
		"more behind":             {"0000000001" + avroData + "00", schemaregistry.DeserializationError, "1 bytes behind"},
		"no such message":         {"00000000020204" + protoData, schemaregistry.DeserializationError, "no message"},
		"not a message":           {"00000000020202ff", schemaregistry.DeserializationError, "schema 2"},
		"does not fit":            {"00000000037b7d", schemaregistry.DeserializationError, "does not fit"},
		"not JSON":                {"00000000037b", schemaregistry.DeserializationError, "schema 3"},
		"a schema that fetches":   {"00000000057b7d", schemaregistry.DeserializationError, "gave no schema"},
		"a schema without a part": {"000000000600", schemaregistry.DeserializationError, "missing.proto"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.Read(t.Context(), fromHex(t, c.data))
			var u *schemaregistry.UnreadableError
			if !errors.As(err, &u) || u.Reason != c.reason || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %s with %q", err, c.reason, c.text)
			}
		})
	}
}

// A registry that fails says nothing about the record: the same record is read when the registry is there again.
func TestRegistryThatFails(t *testing.T) {
	fake, registry := confluent(t)
	r := schemaregistry.NewReader(registry, true)
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, `{"error_code":50001,"message":"down"}`, http.StatusInternalServerError)
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	var u *schemaregistry.UnreadableError
	for _, ctx := range []context.Context{t.Context(), ctx} {
		if _, _, err := r.Read(ctx, fromHex(t, "0000000003"+jsonData)); err == nil || errors.As(err, &u) {
			t.Errorf("error %v, want one of the registry", err)
		}
	}
	cancel()
	fake.ClearInterceptors()
	got, _, err := r.Read(t.Context(), fromHex(t, "0000000003"+jsonData))
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, orderJSON)
}

func TestReferences(t *testing.T) {
	fake, registry := confluent(t)
	fake.SeedSchema("money", 1, 20, sr.Schema{Schema: `{"type":"record","name":"Money","fields":[{"name":"cents","type":"long"}]}`})
	fake.SeedSchema("bill", 1, 21, sr.Schema{
		Schema:     `{"type":"record","name":"Bill","fields":[{"name":"sum","type":"Money"}]}`,
		References: []sr.SchemaReference{{Name: "Money", Subject: "money", Version: 1}},
	})
	fake.SeedSchema("money.proto", 1, 22, sr.Schema{Schema: `syntax = "proto3"; message Money { int32 cents = 1; }`, Type: sr.TypeProtobuf})
	fake.SeedSchema("bill.proto", 1, 23, sr.Schema{
		Schema:     `syntax = "proto3"; import "money.proto"; message Bill { Money sum = 1; }`,
		Type:       sr.TypeProtobuf,
		References: []sr.SchemaReference{{Name: "money.proto", Subject: "money.proto", Version: 1}},
	})
	r := schemaregistry.NewReader(registry, true)
	for data, want := range map[string]string{
		"0000000015" + "0a":         `{"sum":{"cents":5}}`,
		"000000001700" + "0a020805": `{"sum":{"cents":5}}`,
	} {
		got, _, err := r.Read(t.Context(), fromHex(t, data))
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, got, want)
	}
}

// glueServer answers GetSchemaVersion, which is all that is asked of Glue, in its protocol.
func glueServer(t *testing.T, schemas map[string][2]string) schemaregistry.Registry {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SchemaVersionId string }
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Amz-Target") != "AWSGlue.GetSchemaVersion" || json.Unmarshal(body, &in) != nil {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		found, known := schemas[in.SchemaVersionId]
		if !known {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"__type": "EntityNotFoundException", "Message": "Schema version is not found."})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"SchemaVersionId": in.SchemaVersionId, "DataFormat": found[0], "SchemaDefinition": found[1]})
	}))
	t.Cleanup(s.Close)
	return schemaregistry.NewGlue(aws.Config{
		Region: "eu-north-1", BaseEndpoint: aws.String(s.URL), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
}

func TestGlue(t *testing.T) {
	ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
	registry := glueServer(t, map[string][2]string{
		ids[0]: {"AVRO", avroSchema}, ids[1]: {"PROTOBUF", protoSchema}, ids[2]: {"JSON", jsonSchema},
	})
	r := schemaregistry.NewReader(registry, true)
	frame := func(id string, compressed bool, message, data string) []byte {
		u := uuid.MustParse(id)
		plain := append(fromHex(t, message), fromHex(t, data)...)
		if !compressed {
			return append(append([]byte{3, 0}, u[:]...), plain...)
		}
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		_, _ = w.Write(plain)
		_ = w.Close()
		return append(append([]byte{3, 5}, u[:]...), z.Bytes()...)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"avro":       {frame(ids[0], false, "", avroData), avroJSON},
		"compressed": {frame(ids[0], true, "", avroData), avroJSON},
		// shop.Address is 0, shop.Order 1, shop.Order.Line 2
		"protobuf":             {frame(ids[1], false, "01", protoData), protoJSON},
		"a message in another": {frame(ids[1], true, "02", "0a01731002"), `{"sku":"s","amount":2}`},
		"json":                 {frame(ids[2], false, "", jsonData), orderJSON},
	} {
		t.Run(name, func(t *testing.T) {
			got, m, err := r.Read(t.Context(), c.data)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, got, c.want)
			if _, err := uuid.Parse(m.SchemaID); err != nil {
				t.Errorf("metadata %+v", m)
			}
		})
	}
	bomb := frame(ids[2], true, "", strings.Repeat("20", 7<<20))
	for name, c := range map[string]struct {
		data   []byte
		reason schemaregistry.Reason
	}{
		"unknown":             {frame(uuid.NewString(), false, "", avroData), schemaregistry.SchemaNotFound},
		"confluent's":         {fromHex(t, "0000000001"+avroData), schemaregistry.DeserializationError},
		"unknown compression": {append([]byte{3, 9}, make([]byte, 20)...), schemaregistry.DeserializationError},
		"broken compression":  {append([]byte{3, 5}, make([]byte, 20)...), schemaregistry.DeserializationError},
		"inflates to 7 MB":    {bomb, schemaregistry.DeserializationError},
		"no such message":     {frame(ids[1], false, "03", protoData), schemaregistry.DeserializationError},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := r.Read(t.Context(), c.data)
			var u *schemaregistry.UnreadableError
			if !errors.As(err, &u) || u.Reason != c.reason {
				t.Errorf("error %v, want %s", err, c.reason)
			}
		})
	}
}
