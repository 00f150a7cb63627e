package sns

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

const namespace = "http://sns.amazonaws.com/doc/2010-03-31/"

// failure is an answer other than success. Codes and statuses are those of the service's model.
type failure struct {
	status        int
	code, message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func invalid(format string, v ...any) error {
	return &failure{http.StatusBadRequest, "InvalidParameter", "Invalid parameter: " + fmt.Sprintf(format, v...)}
}

func invalidValue(format string, v ...any) error {
	return &failure{http.StatusBadRequest, "ParameterValueInvalid", fmt.Sprintf(format, v...)}
}

func missing(name string) error {
	return &failure{http.StatusBadRequest, "ValidationError", fmt.Sprintf("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", name)}
}

func notFound(what string) error {
	return &failure{http.StatusNotFound, "NotFound", what + " does not exist"}
}

// unsupported refuses in words what the service has and this server has not.
func unsupported(format string, v ...any) error {
	return &failure{http.StatusBadRequest, "InvalidParameter", fmt.Sprintf(format, v...)}
}

// codes are the names that the query protocol has for what all services refuse.
var codes = map[string]failure{
	"UnrecognizedClientException":         {http.StatusForbidden, "InvalidClientTokenId", ""},
	"ExpiredTokenException":               {http.StatusForbidden, "ExpiredToken", ""},
	"InvalidSignatureException":           {http.StatusForbidden, "SignatureDoesNotMatch", ""},
	"IncompleteSignatureException":        {http.StatusBadRequest, "IncompleteSignature", ""},
	"MissingAuthenticationTokenException": {http.StatusForbidden, "MissingAuthenticationToken", ""},
	"AccessDeniedException":               {http.StatusForbidden, "AuthorizationError", ""},
	"RequestEntityTooLargeException":      {http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", ""},
}

// Refuse implements api.Service.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	f, ok := codes[code]
	if !ok {
		f = failure{http.StatusInternalServerError, "InternalError", ""}
	}
	f.message = message
	s.refuse(w, &f)
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	var f *failure
	if !errors.As(err, &f) {
		s.o.Log.Error("a request for SNS could not be answered", "error", err)
		f = &failure{http.StatusInternalServerError, "InternalError", "The request could not be answered; the log of this server says why."}
	}
	var out struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		NS      string   `xml:"xmlns,attr"`
		Error   struct{ Type, Code, Message string }
		ID      string `xml:"RequestId"`
	}
	out.NS, out.ID = namespace, w.Header().Get("X-Amzn-Requestid")
	out.Error.Type, out.Error.Code, out.Error.Message = "Sender", f.code, f.message
	if f.status >= 500 {
		out.Error.Type = "Receiver"
	}
	b, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		b = nil
	}
	write(w, f.status, "text/xml", b)
}

func write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // nobody to tell
}
