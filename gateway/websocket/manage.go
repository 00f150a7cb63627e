package websocket

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	ws "github.com/gorilla/websocket"

	"thaw/gateway"
	"thaw/iam"
)

// managePath is what the path of the management API begins with, below a stage: /@connections/ID.
const managePath = "/@connections/"

// manageAction is what a sender must be allowed.
const manageAction = "execute-api:ManageConnections"

// Serves implements api.Front: calls of the management API that name no API, as clients send them which were told only
// where this server is. IDs of connections are unique on a server.
func (s *Server) Serves(r *http.Request) bool { return connectionsPath(r) != "" }

// connectionsPath is what follows /@connections/; empty: the path is another.
func connectionsPath(r *http.Request) string {
	for _, prefix := range []string{managePath, "/%40connections/"} {
		if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix); ok {
			return rest
		}
	}
	return ""
}

// ServeHTTP implements api.Front.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.manage(w, r, nil, connectionsPath(r))
}

// manage answers a call for a connection of a stage; at is nil for any. Source: API Gateway Developer Guide, "Use
// @connections commands in your backend service"; the model of apigatewaymanagementapi.
func (s *Server) manage(w http.ResponseWriter, r *http.Request, at *stageKey, escaped string) {
	request := newID()
	w.Header()["X-Amzn-Requestid"] = []string{request}
	id, err := url.PathUnescape(escaped)
	if err != nil || id == "" || strings.Contains(id, "/") {
		manageError(w, http.StatusForbidden, "ForbiddenException", "Forbidden")
		return
	}
	body, ok := readData(w, r)
	if !ok {
		return
	}
	who, _, err := s.o.Sender(r, "execute-api", body)
	if err != nil {
		manageError(w, http.StatusForbidden, "ForbiddenException", err.Error())
		return
	}
	c := s.find(id)
	if c != nil && (at != nil && c.at != *at || !c.open()) {
		c = nil
	}
	if !who.Everything {
		resource, account := "", ""
		switch {
		case c != nil:
			resource, account = s.connectionARN(c.at, r.Method)
		case at != nil:
			resource, account = s.connectionARN(*at, r.Method)
		default: // of a connection that is gone nobody learns which API it was of
			gone(w)
			return
		}
		if d := who.May(iam.Ask{Action: manageAction, Resource: resource + id}, account, nil); !d.OK() {
			manageError(w, http.StatusForbidden, "ForbiddenException", d.Message())
			return
		}
	}
	if c == nil {
		gone(w)
		return
	}
	switch r.Method {
	case http.MethodPost:
		c.post(w, body)
	case http.MethodGet:
		c.describe(w)
	case http.MethodDelete:
		c.happen(Deleted)
		w.WriteHeader(http.StatusNoContent)
	default:
		manageError(w, http.StatusForbidden, "ForbiddenException", "Forbidden")
	}
}

// readData reads what is to be sent. Not ok: it was answered.
func readData(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	switch {
	case err == nil:
		return body, true
	case errors.As(err, new(*http.MaxBytesError)):
		io.Copy(io.Discard, io.LimitReader(r.Body, 10<<20)) //nolint:errcheck // so that the sender sees the answer
		manageError(w, http.StatusRequestEntityTooLarge, "PayloadTooLargeException", "Message too long: "+strconv.Itoa(maxMessage)+" bytes are allowed")
	default:
		manageError(w, http.StatusBadRequest, "BadRequestException", "The body could not be read")
	}
	return nil, false
}

// connectionARN is what a policy names, up to the ID of a connection, and whose it is.
func (s *Server) connectionARN(at stageKey, method string) (arn, account string) {
	a := s.o.Records.APIs.Get(at.api)
	if a == nil {
		a = &gateway.API{ID: at.api}
	}
	return "arn:aws:execute-api:" + a.Region + ":" + a.Account + ":" + at.api + "/" + at.stage + "/" + method + managePath, a.Account
}

// post sends a message: text, and what is no text as a binary one.
func (c *connection) post(w http.ResponseWriter, body []byte) {
	kind := ws.TextMessage
	if !utf8.Valid(body) {
		kind = ws.BinaryMessage
	}
	switch err := c.send(kind, body); {
	case errors.Is(err, errFull):
		manageError(w, http.StatusTooManyRequests, "LimitExceededException", "The client does not read: "+strconv.Itoa(maxQueue)+" bytes wait for it")
	case err != nil:
		gone(w)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// describe answers GetConnection.
func (c *connection) describe(w http.ResponseWriter) {
	type identity struct {
		SourceIP  string `json:"sourceIp"`
		UserAgent string `json:"userAgent"`
	}
	writeJSON(w, http.StatusOK, struct {
		ConnectedAt  string   `json:"connectedAt"`
		Identity     identity `json:"identity"`
		LastActiveAt string   `json:"lastActiveAt"`
	}{stamp(c.connected), identity{c.sourceIP, c.userAgent}, stamp(time.UnixMilli(c.active.Load()))})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func gone(w http.ResponseWriter) { manageError(w, http.StatusGone, "GoneException", "") }

func manageError(w http.ResponseWriter, status int, code, message string) {
	w.Header()["X-Amzn-Errortype"] = []string{code}
	writeJSON(w, status, struct {
		Message string `json:"message,omitempty"`
	}{message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = []string{"application/json"}, []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // nobody to tell
}
