// Go-hello is a sample function on aws-lambda-go: it greets, and says which invocation of its environment this is.
package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Name string `json:"name"`
}

type answer struct {
	Greeting   string `json:"greeting"`
	Invocation int    `json:"invocation"`
	RequestID  string `json:"requestId"`
	Go         string `json:"go"`
}

var count int

func handle(ctx context.Context, e event) (answer, error) {
	count++
	if e.Name == "" {
		e.Name = "world"
	}
	fmt.Println("hello", e.Name)
	id := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	}
	return answer{Greeting: "Hello, " + e.Name + "!", Invocation: count, RequestID: id, Go: runtime.Version()}, nil
}

func main() { lambda.Start(handle) }
