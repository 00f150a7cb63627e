package node

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// BenchmarkFirstAnswerAfterIdle is the first answer of a version that has lain idle until its environment went: by a spare, and by a restore where spares
// are off; and, for what the function's own first run costs, by an environment of provisioned concurrency, which was never restored. Beside it stand the
// second answer, and warm ones of a frozen environment and of one that was not frozen yet. Medians, in milliseconds; one round takes two seconds.
func BenchmarkFirstAnswerAfterIdle(b *testing.B) {
	for _, name := range []string{"spare", "restore", "provisioned"} {
		b.Run(name, func(b *testing.B) {
			spares, ahead := 0, 0
			if name != "restore" {
				ahead = 1
			}
			if name == "spare" {
				spares = 1
			}
			needRoot(b, "gvisor")
			dir := b.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				b.Fatal(err)
			}
			s := openServerWith(b, "gvisor", dir, func(c *Config) { c.Spares, c.IdleExpiry = spares, time.Second })
			defer s.node.Close(context.Background())
			var f *deployed
			if name == "provisioned" {
				f = s.js(`exports.handler = async (e) => e`)
				f.version1()
			} else {
				f = s.js(`exports.handler = async (e) => e`, snapStart)
				if c := f.publish(); c.State != types.StateActive {
					b.Fatal(c.State)
				}
			}
			release := func() {
				if name == "provisioned" {
					f.client.DeleteProvisionedConcurrencyConfig(context.Background(), &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("1")})
				}
			}
			url := s.node.Endpoint() + "/2015-03-31/functions/" + f.name + "/invocations?Qualifier=1"
			ask := func() float64 {
				began := time.Now()
				q, err := http.NewRequest("POST", url, bytes.NewReader([]byte(`{"a":1}`)))
				if err != nil {
					b.Fatal(err)
				}
				q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
				r, err := http.DefaultClient.Do(q)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode != 200 {
					b.Fatal(r.Status)
				}
				return time.Since(began).Seconds() * 1000
			}
			idle := func() bool { // nothing is left but, where there are spares, one that is frozen
				list := s.node.pool.Environments()
				return len(list) == ahead && (ahead == 0 || list[0].Invokes == 0 && list[0].State == "Frozen")
			}
			ask()
			var first, second, frozen, warm []float64
			for b.Loop() {
				if name == "provisioned" {
					for end := time.Now().Add(time.Minute); len(s.node.pool.Environments()) > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					}
					f.provision(1)
				}
				for end := time.Now().Add(time.Minute); !idle(); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						b.Fatalf("it does not come to rest: %+v", s.node.pool.Counts())
					}
				}
				time.Sleep(100 * time.Millisecond)
				first = append(first, ask())
				time.Sleep(50 * time.Millisecond)
				second = append(second, ask())
				for range 20 {
					ask()
				}
				time.Sleep(50 * time.Millisecond)
				frozen = append(frozen, ask())
				warm = append(warm, ask())
				release()
			}
			for unit, list := range map[string][]float64{"ms-first": first, "ms-second": second, "ms-frozen": frozen, "ms-warm": warm} {
				slices.Sort(list)
				b.ReportMetric(list[len(list)/2], unit)
			}
			b.ReportMetric(first[len(first)-1], "ms-first-max")
		})
	}
}
