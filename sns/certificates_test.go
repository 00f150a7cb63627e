package sns

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// notThere answers for a place where nothing is.
type notThere struct{ asked int }

func (n *notThere) RoundTrip(*http.Request) (*http.Response, error) {
	n.asked++
	return nil, errors.New("nothing is there")
}

// Whoever posts messages with made-up certificates has no good one forgotten, has one place asked once, and holds up nobody
// for longer than that one waits.
func TestMadeUpCertificates(t *testing.T) {
	t.Parallel()
	var c certificates
	c.open()
	away := &notThere{}
	c.client.Transport = away
	now := time.Now()
	c.keep("good", fetched{cert: &x509.Certificate{}, at: now})
	const base = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-"
	for i := range 3 * maxCertificates {
		if _, err := c.get(t.Context(), fmt.Sprintf("%s%d.pem", base, i), "", now); err == nil {
			t.Fatal("a certificate that is not there is good")
		}
	}
	if _, ok := c.known("good", now); !ok || len(c.all) > maxCertificates {
		t.Errorf("the good one is kept: %v; %d are", ok, len(c.all))
	}
	away.asked = 0
	for _, more := range []string{"#1", "#2", "?a=1"} {
		if _, err := c.get(t.Context(), base+"1.pem"+more, "", now); err == nil || !strings.Contains(err.Error(), "is not the place") {
			t.Errorf("%s: %v", more, err)
		}
	}
	if away.asked > 0 {
		t.Errorf("asked %d times", away.asked)
	}
	c.fetching <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(ctx, base+"new.pem", "", now); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever has gone waits: %v", err)
	}
}
