package api

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// Tools that deploy functions ask other services, too, at the same endpoint when AWS_ENDPOINT_URL is set: CloudFormation,
// IAM, STS. Those speak AWS's Query protocol, and their clients read errors as XML alone: they take JSON for a fault of
// their own. Source: botocore's QueryParser.

// speaksQuery says whether a request is one of the Query protocol: a form that is posted to the root.
func speaksQuery(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// notServed is the error for a request that belongs to no operation of any service that is here.
func (c *call) notServed(path string) error {
	sig, _ := readSignature(c.r) //nolint:errcheck // its service is wanted, nothing else
	if path != "/" || sig.service == "" || sig.service == "lambda" {
		return fail("UnknownOperationException", "There is no operation %s %s.", c.r.Method, path)
	}
	return fail("NotImplementedException", "This server does not speak for the service %q.", sig.service)
}

// queryError is an error as the Query protocol has it.
type queryError struct {
	XMLName xml.Name `xml:"ErrorResponse"`
	Error   struct {
		Type    string
		Code    string
		Message string
	}
	RequestId string
}

func (c *call) writeQueryError(status int, code, message string) {
	out := queryError{RequestId: c.id}
	out.Error.Type, out.Error.Code, out.Error.Message = "Sender", code, message
	if status >= http.StatusInternalServerError {
		out.Error.Type = "Receiver"
	}
	b, err := xml.Marshal(out)
	if err != nil {
		b = nil
	}
	h := c.w.Header()
	h["Content-Type"], h["Content-Length"] = []string{"text/xml"}, []string{strconv.Itoa(len(b))}
	c.w.WriteHeader(status)
	c.w.Write(b) //nolint:errcheck // nobody to tell
}
