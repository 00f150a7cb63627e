// Echo is a function on AWS's own Go client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	var in struct {
		Do  string
		Big int
	}
	json.Unmarshal(event, &in)
	switch in.Do {
	case "error":
		return nil, errors.New("it went wrong")
	case "panic":
		panic("it went very wrong")
	case "exit":
		os.Exit(0)
	case "print":
		fmt.Println("printed")
	case "big":
		return strings.Repeat("b", in.Big), nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return []any{lc.AwsRequestID, lc.InvokedFunctionArn, lc.ClientContext.Custom, deadline.UnixMilli(), lc.Identity.CognitoIdentityID}, nil
	case "stream":
		return io.MultiReader(strings.NewReader("first "), strings.NewReader("second")), nil
	case "broken stream":
		return io.MultiReader(strings.NewReader("first "), brokenReader{}), nil
	}
	return event, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken in the middle") }

func main() { lambda.Start(handle) }
