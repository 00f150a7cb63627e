package mongotest

import (
	"context"
	"fmt"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

const setName = "thaw"

// Codes of errors. Source: MongoDB's error_codes.yml.
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
	codeTypeMismatch         = 14
	codeCursorNotFound       = 43
	codeCommandNotFound      = 59
	codeBadValue             = 2
	codeInterrupted          = 279
	codeHistoryLost          = 286
	codeMechanismUnavailable = 334
	codeDuplicateKey         = 11000
)

// session is one connection.
type session struct {
	*Server
	gone         context.Context // ends when the client has closed the connection
	signedIn     bool
	conversation *scram.ServerConversation
}

// run runs a command. What it does not know it refuses by name.
func (s *session) run(q *request) bson.D {
	elements, err := q.command.Elements()
	if err != nil || len(elements) == 0 {
		return failure(codeBadValue, "BadValue", "not a command")
	}
	switch name := elements[0].Key(); name {
	case "hello", "isMaster", "ismaster":
		return s.hello(q.command)
	case "ping", "endSessions":
		return success()
	case "saslStart", "saslContinue":
		return s.authenticate(q.command)
	default:
		if !s.signedIn {
			return failure(codeUnauthorized, "Unauthorized", "Command "+name+" requires authentication")
		}
		return s.command(name, q)
	}
}

func (s *session) command(name string, q *request) bson.D {
	target, _ := q.command.Lookup(name).StringValueOK()
	ns := namespace{q.command.Lookup("$db").StringValue(), target}
	switch name {
	case "insert":
		return s.write(ns, q, "documents", s.insertOne)
	case "update":
		return s.write(ns, q, "updates", s.updateOne)
	case "delete":
		return s.write(ns, q, "deletes", s.deleteOne)
	case "find":
		return s.find(ns)
	case "aggregate":
		return s.watch(ns, q.command)
	case "getMore":
		return s.getMore(q.command)
	case "killCursors":
		return s.killCursors(q.command)
	}
	return failure(codeCommandNotFound, "CommandNotFound", fmt.Sprintf("no such command: '%s'", name))
}

func success(more ...bson.E) bson.D { return append(bson.D(more), bson.E{Key: "ok", Value: 1.0}) }

func failure(code int32, name, message string, labels ...string) bson.D {
	d := bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: message}, {Key: "code", Value: code}, {Key: "codeName", Value: name}}
	if len(labels) > 0 {
		d = append(d, bson.E{Key: "errorLabels", Value: labels})
	}
	return d
}

// hello is the answer of a primary of MongoDB 7.0.
func (s *session) hello(command bson.Raw) bson.D {
	d := success(
		bson.E{Key: "isWritablePrimary", Value: true}, bson.E{Key: "ismaster", Value: true},
		bson.E{Key: "setName", Value: setName}, bson.E{Key: "setVersion", Value: int32(1)},
		bson.E{Key: "hosts", Value: bson.A{s.address}}, bson.E{Key: "primary", Value: s.address}, bson.E{Key: "me", Value: s.address},
		bson.E{Key: "maxBsonObjectSize", Value: int32(16 << 20)}, bson.E{Key: "maxMessageSizeBytes", Value: int32(maxMessage)},
		bson.E{Key: "maxWriteBatchSize", Value: int32(100_000)}, bson.E{Key: "logicalSessionTimeoutMinutes", Value: int32(30)},
		bson.E{Key: "minWireVersion", Value: int32(0)}, bson.E{Key: "maxWireVersion", Value: int32(21)},
		bson.E{Key: "localTime", Value: bson.NewDateTimeFromTime(s.o.Now())},
	)
	if _, err := command.LookupErr("saslSupportedMechs"); err == nil && s.user != nil {
		d = append(d, bson.E{Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}})
	}
	return d
}
