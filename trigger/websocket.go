package trigger

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/internal/plainjson"
)

// What a WebSocket connection tells its functions. Sources: API Gateway Developer Guide, "WebSocket API mapping template
// reference" and "Set up routes"; aws-lambda-go, events/testdata/apigw-websocket-*.

// Socket is a connection of a WebSocket API.
type Socket struct {
	ID, API, Stage, Domain string
	Connected              time.Time
	SourceIP, UserAgent    string
	// Judged is what the judge of the handshake said, a JSON object; empty: there was none.
	Judged    json.RawMessage
	Variables map[string]string // of the stage
}

// SocketEvent is something that happened on a connection.
type SocketEvent struct {
	Socket
	ID    string // of the request
	Time  time.Time
	Route string // $connect, orders
}

type (
	socketEvent struct {
		Headers         map[string]string   `json:"headers,omitempty"`
		MultiHeaders    map[string][]string `json:"multiValueHeaders,omitempty"`
		Query           map[string]string   `json:"queryStringParameters,omitempty"`
		MultiQuery      map[string][]string `json:"multiValueQueryStringParameters,omitempty"`
		StageVariables  map[string]string   `json:"stageVariables,omitempty"`
		RequestContext  socketContext       `json:"requestContext"`
		Body            *string             `json:"body,omitempty"`
		IsBase64Encoded bool                `json:"isBase64Encoded"`
	}
	socketContext struct {
		RouteKey          string          `json:"routeKey"`
		Authorizer        json.RawMessage `json:"authorizer,omitempty"`
		MessageID         string          `json:"messageId,omitempty"`
		DisconnectStatus  *int            `json:"disconnectStatusCode,omitempty"`
		EventType         string          `json:"eventType"`
		ExtendedRequestID string          `json:"extendedRequestId"`
		RequestTime       string          `json:"requestTime"`
		Direction         string          `json:"messageDirection"`
		DisconnectReason  *string         `json:"disconnectReason,omitempty"`
		Stage             string          `json:"stage"`
		ConnectedAt       int64           `json:"connectedAt"`      // ms
		RequestTimeEpoch  int64           `json:"requestTimeEpoch"` // ms
		Identity          socketIdentity  `json:"identity"`
		RequestID         string          `json:"requestId"`
		DomainName        string          `json:"domainName"`
		ConnectionID      string          `json:"connectionId"`
		APIID             string          `json:"apiId"`
	}
	socketIdentity struct {
		UserAgent string `json:"userAgent,omitempty"`
		SourceIP  string `json:"sourceIp"`
	}
)

func (e *SocketEvent) event(kind string) *socketEvent {
	return &socketEvent{StageVariables: e.Variables, RequestContext: socketContext{RouteKey: e.Route, Authorizer: e.Judged,
		EventType: kind, ExtendedRequestID: e.ID,
		RequestTime: e.Time.UTC().Format(timeForm), Direction: "IN", Stage: e.Stage, ConnectedAt: e.Connected.UnixMilli(),
		RequestTimeEpoch: e.Time.UnixMilli(),
		Identity:         socketIdentity{e.UserAgent, e.SourceIP}, RequestID: e.ID, DomainName: e.Domain, ConnectionID: e.Socket.ID, APIID: e.API}}
}

// Connect is the event of a handshake.
func (e *SocketEvent) Connect(r *Request) ([]byte, error) {
	out := e.event("CONNECT")
	out.MultiHeaders, out.MultiQuery = r.socketHeaders(), MultiParameters(r.Query)
	out.Headers, out.Query = Last(out.MultiHeaders), Last(out.MultiQuery)
	return plainjson.Marshal(out)
}

// Message is the event of a message. What is binary, or no UTF-8, is base64.
func (e *SocketEvent) Message(id string, body []byte, binary bool) ([]byte, error) {
	out := e.event("MESSAGE")
	out.RequestContext.MessageID = id
	text := string(body)
	if out.IsBase64Encoded = binary || !utf8.Valid(body); out.IsBase64Encoded {
		text = base64.StdEncoding.EncodeToString(body)
	}
	out.Body = &text
	return plainjson.Marshal(out)
}

// Disconnect is the event of the end. status is that of RFC 6455, 7.4; 1006: the peer was gone.
func (e *SocketEvent) Disconnect(status int, reason string) ([]byte, error) {
	out := e.event("DISCONNECT")
	out.MultiHeaders = map[string][]string{"Host": {e.Domain}, "x-api-key": {""}, "X-Forwarded-For": {""}, "x-restapi": {""}} // as recorded
	out.Headers = Last(out.MultiHeaders)
	out.RequestContext.DisconnectStatus, out.RequestContext.DisconnectReason = &status, &reason
	return plainjson.Marshal(out)
}

// socketHeaders are those of a handshake, spelled as AWS does.
func (r *Request) socketHeaders() map[string][]string {
	out := r.MultiHeaders()
	for name, list := range out {
		if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
			delete(out, name)
			out["Sec-WebSocket-"+rest] = list
		}
	}
	return out
}

// ParseSocket reads what a function answers on a WebSocket route: an object with statusCode. binary: its body was base64.
// ErrBadAnswer.
func ParseSocket(payload []byte) (r *Response, binary bool, err error) {
	if r, err = ParseProxy(payload, Form{NeedsStatus: true}); err != nil {
		return nil, false, err
	}
	var said struct {
		Binary json.RawMessage `json:"isBase64Encoded"`
	}
	json.Unmarshal(payload, &said) //nolint:errcheck // it is an object
	return r, string(said.Binary) == "true", nil
}

// SocketError is what API Gateway says itself on a connection, in the spelling of AWS.
func SocketError(message, connection, request string) []byte {
	return fmt.Appendf(nil, `{"message": %q, "connectionId":%q, "requestId":%q}`, message, connection, request)
}

// Authorizer is the event of a handshake for a REQUEST authorizer.
func (e *SocketEvent) Authorizer(methodARN string, r *Request) ([]byte, error) {
	multi, query := r.socketHeaders(), MultiParameters(r.Query)
	return plainjson.Marshal(struct {
		Type           string              `json:"type"`
		MethodARN      string              `json:"methodArn"`
		Headers        map[string]string   `json:"headers"`
		MultiHeaders   map[string][]string `json:"multiValueHeaders"`
		Query          map[string]string   `json:"queryStringParameters"`
		MultiQuery     map[string][]string `json:"multiValueQueryStringParameters"`
		StageVariables map[string]string   `json:"stageVariables"`
		RequestContext socketContext       `json:"requestContext"`
	}{"REQUEST", methodARN, Last(multi), multi, orEmpty(Last(query)), orEmpty(query), orEmpty(e.Variables), e.event("CONNECT").RequestContext})
}
