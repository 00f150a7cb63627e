package mongodb_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
)

// sample is that of the Developer Guide, with-documentdb. Neither aws-lambda-go nor Powertools have a type for these events.
const sample = `{"eventSourceArn":"arn:aws:rds:us-east-1:123456789012:cluster:canaryclusterb2a659a2-qo5tcmqkcl03","events":[{"event":{
	"_id":{"_data":"0163eeb6e7000000090100000009000041e1"},"clusterTime":{"$timestamp":{"t":1676588775,"i":9}},
	"documentKey":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"}},"fullDocument":{"_id":{"$oid":"63eeb6e7d418cd98afb1c1d7"},"anyField":"sampleValue"},
	"ns":{"db":"test_database","coll":"test_collection"},"operationType":"insert"}}],"eventSource":"aws:docdb"}`

// S-099: an event has the members of AWS's own sample, with values of the same types.
func TestPublishedSample(t *testing.T) {
	t.Parallel()
	s := start(t, mongotest.Options{})
	if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "anyField", Value: "v"}}); err != nil {
		t.Fatal(err)
	}
	src, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
	eventsourcetest.LikeJSON(t, src.Envelope.Event(eventsourcetest.Next(t, r, 1)), []byte(sample))
}
