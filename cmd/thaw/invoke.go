package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

// invokeAnswer is what -o json prints.
type invokeAnswer struct {
	StatusCode      int32           `json:"statusCode"`
	ExecutedVersion string          `json:"executedVersion,omitempty"`
	FunctionError   string          `json:"functionError,omitempty"`
	Payload         json.RawMessage `json:"payload,omitempty"`     // when it is JSON
	PayloadText     string          `json:"payloadText,omitempty"` // when it is not
	Log             string          `json:"log,omitempty"`         // with --tail
}

func invokeCommand(a *app) *cobra.Command {
	var (
		event              []byte
		payload, qualifier string
		tail, raw          bool
	)
	cmd := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Invoke a function and print its answer",
		Long: `Invokes a function by its name or ARN. Its answer goes to stdout, everything else to stderr.
The exit code is 1 when the function answers with an error.

Control characters of the function are shown as marks such as ^[ in the log that --tail prints, and in the answer when stdout is a
terminal; a pipe or a file gets the answer byte for byte.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: `thaw invoke hello --payload '{"name":"world"}' --tail`,
	}
	cmd.Flags().StringVarP(&payload, "payload", "p", "", "event: text, @FILE, or - for stdin")
	cmd.Flags().StringVar(&qualifier, "qualifier", "", "version or alias")
	cmd.Flags().BoolVar(&tail, "tail", false, "also print the end of the invocation's log")
	cmd.Flags().BoolVar(&raw, "raw", false, "answer and log byte for byte, on a terminal too")
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		event, err = a.readPayload(payload)
		return err
	}
	cmd.RegisterFlagCompletionFunc("qualifier", a.complete(aFunction, aQualifier)) //nolint:errcheck // the flag is there
	return calling(a, cmd, []operand{aQualified}, func(c *call) error {
		in := &lambda.InvokeInput{FunctionName: &c.names[0], Payload: event, Qualifier: orNil(qualifier)}
		if tail {
			in.LogType = types.LogTypeTail
		}
		out, err := c.client.Invoke(c, in)
		if err != nil {
			return err
		}
		return a.printAnswer(out, raw)
	})
}

// readPayload gives what --payload stands for; nothing at all is an empty event.
func (a *app) readPayload(payload string) ([]byte, error) {
	switch {
	case payload == "-":
		b, err := io.ReadAll(a.in)
		if err != nil {
			return nil, fmt.Errorf("payload from stdin: %w", err)
		}
		return b, nil
	case strings.HasPrefix(payload, "@"):
		b, err := os.ReadFile(payload[1:])
		if err != nil {
			return nil, misuse{fmt.Errorf("payload: %w", err)}
		}
		return b, nil
	}
	return []byte(payload), nil
}

func (a *app) printAnswer(out *lambda.InvokeOutput, raw bool) error {
	answer := invokeAnswer{StatusCode: out.StatusCode, ExecutedVersion: aws.ToString(out.ExecutedVersion), FunctionError: aws.ToString(out.FunctionError)}
	if json.Valid(out.Payload) {
		answer.Payload = out.Payload
	} else {
		answer.PayloadText = string(out.Payload)
	}
	log, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if err != nil {
		return fmt.Errorf("log of the answer: %w", err)
	}
	answer.Log = string(log)
	if a.output == "text" {
		if !raw {
			log = []byte(visible(answer.Log))
		}
		a.words.Write(log)
	}
	payload := string(out.Payload)
	if !raw && terminal(a.out) {
		payload = visible(payload)
	}
	if err := a.print(answer, func(w io.Writer) { fmt.Fprintln(w, payload) }); err != nil {
		return err
	}
	if answer.FunctionError != "" {
		return fmt.Errorf("the function answered with an error: %s", answer.FunctionError)
	}
	return nil
}

// plainer is an API error without the client's layers around it.
func plainer(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}
