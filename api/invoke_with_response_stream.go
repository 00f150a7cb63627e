package api

import (
	"encoding/base64"

	"thaw/function"
)

// InvokeWithResponseStream: POST /2021-11-15/functions/{FunctionName}/response-streaming-invocations?Qualifier= -> 200.
//
// Supported: as Invoke. A function that does not stream is answered in one or more chunks.
// Differs: no bandwidth limit after the first 6 MB.
func (c *call) invokeWithResponseStream() error {
	q, err := c.invocation(true)
	if err != nil || q == nil {
		return err
	}
	out := &eventStream{c: c}
	q.Stream, q.Chosen = out, func(v *function.Version) { out.version = string(v.Number) }
	result, err := c.s.Plane.Invoker().Invoke(c.r.Context(), q)
	if err != nil {
		if !out.started() {
			return c.invokeFailed(err)
		}
		answer, ours := answerFor(err)
		if ours {
			c.s.Plane.Log.Error("stream broke off", "request_id", c.id, "error", err)
		}
		return out.exception(answer)
	}
	end := struct {
		ErrorCode    string `json:",omitempty"`
		ErrorDetails string `json:",omitempty"`
		LogResult    string `json:",omitempty"`
	}{}
	switch {
	case result.StreamErrorType != "" || result.StreamErrorDetails != "": // after the first chunk
		end.ErrorCode, end.ErrorDetails = streamErrorCode(result.StreamErrorType), result.StreamErrorDetails
	case result.FunctionError != "":
		end.ErrorCode, end.ErrorDetails = result.FunctionError, string(result.Payload)
	case len(result.Payload) > 0: // the function did not stream
		if err := out.Chunk(result.Payload); err != nil {
			return nil //nolint:nilerr // the caller is gone
		}
	}
	if q.Tail {
		end.LogResult = base64.StdEncoding.EncodeToString(result.LogTail)
	}
	return out.complete(end)
}

// streamErrorCode is the ErrorCode of a stream that failed after its first chunk. Callers of the real service have
// published two values: Unhandled for an error that the function reported, and Runtime.TruncatedResponse for a runtime
// that died in the middle. The type of the error is in the details, as for Invoke.
func streamErrorCode(errType string) string {
	switch errType {
	case "Runtime.TruncatedResponse", "Runtime.ExitError", "Runtime.OutOfMemory":
		return "Runtime.TruncatedResponse"
	}
	return "Unhandled"
}
