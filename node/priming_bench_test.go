package node

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/snapshot"
)

// BenchmarkRestoreJava is the way from a request to its answer by a new copy of a Java function, with a snapshot that is not primed, and with ones that are.
func BenchmarkRestoreJava(b *testing.B) {
	s := shared(b, "gvisor")
	r := ready(b, s, "java17", "java21", "java11")
	code := javaZip(b, s, "Primed", primedJava)
	for _, c := range []struct{ name, prime string }{{"unprimed", ""}, {"primed once", "warm"}, {"primed 30 times", "warm:30"}} {
		b.Run(c.name, func(b *testing.B) {
			s.t = b
			o := []option{snapStart, memory(512), func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("Primed::handleRequest") }}
			if c.prime != "" {
				o = append(o, tags(map[string]string{snapshot.TagPrime: c.prime, snapshot.TagEvent + "warm": `{"id":"one"}`}))
			}
			f := s.deployZip(r, code, o...)
			if v := f.publish(); v.State != types.StateActive {
				b.Fatalf("state %s %s", v.State, aws.ToString(v.StateReason))
			}
			arn := "arn:aws:lambda:eu-west-1:000000000000:function:" + f.name
			f.invokeVersion("1", `{"list":true}`).ok(b)
			var all time.Duration
			for b.Loop() {
				b.StopTimer()
				f.node.pool.Outdate(function.ARN(arn), "1", "")
				time.Sleep(300 * time.Millisecond) // what goes takes processors, too
				b.StartTimer()
				began := time.Now()
				f.invokeVersion("1", `{"list":true}`).ok(b)
				all += time.Since(began)
			}
			b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "ms/answer")
			b.ReportMetric(float64(f.snap("1").Bytes)/(1<<20), "MiB/snapshot")
		})
	}
}
