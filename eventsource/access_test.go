package eventsource_test

import (
	"errors"
	"strings"
	"testing"

	"thaw/eventsource"
)

// What says something about a login needs the login. Source: section 6.6.
func TestAccess(t *testing.T) {
	t.Parallel()
	for types, refused := range map[string]string{
		"OAUTHBEARER_AUTH": "", "OAUTHBEARER_AUTH OAUTHBEARER_SCOPE OAUTHBEARER_AUDIENCE OAUTHBEARER_LOGICAL_CLUSTER OAUTHBEARER_IDENTITY_POOL": "",
		"IAM_AUTH": "", "IAM_OAUTHBEARER_AUTH OAUTHBEARER_AUDIENCE": "", "VPC_SUBNET": "",
		"OAUTHBEARER_SCOPE":    "OAUTHBEARER_SCOPE need another one with the type OAUTHBEARER_AUTH.",
		"OAUTHBEARER_AUDIENCE": "OAUTHBEARER_AUTH or IAM_OAUTHBEARER_AUTH.",
		"IAM_OAUTHBEARER_AUTH": "OAUTHBEARER_AUDIENCE.",
		"IAM_OAUTHBEARER_AUTH OAUTHBEARER_AUDIENCE OAUTHBEARER_SCOPE": "OAUTHBEARER_SCOPE need",
	} {
		r := &eventsource.Request{Brokers: []string{"a:1"}, Topics: []string{"t"}}
		for _, typ := range strings.Fields(types) {
			r.Access = append(r.Access, eventsource.Access{Type: typ, URI: "x"})
		}
		_, err := eventsource.New(eventsource.SelfManagedKafka, r)
		var invalid *eventsource.InvalidError
		if refused == "" && err != nil || refused != "" && (!errors.As(err, &invalid) || !strings.Contains(invalid.Message, refused)) {
			t.Errorf("%s: %v, want %q", types, err, refused)
		}
	}
}
