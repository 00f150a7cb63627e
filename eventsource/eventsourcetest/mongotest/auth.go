package mongotest

import (
	"errors"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// credential is the one user of a server.
type credential struct{ server *scram.Server }

var errNoUser = errors.New("no such user")

func newCredential(user, password string) (*credential, error) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "thaw tests, salt", Iters: 4096})
	if err != nil {
		return nil, err
	}
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name != user {
			return scram.StoredCredentials{}, errNoUser
		}
		return stored, nil
	})
	return &credential{server}, err
}

// authenticate is one step of SCRAM: saslStart and saslContinue differ in nothing here.
func (s *session) authenticate(command bson.Raw) bson.D {
	if s.user == nil {
		return failure(codeCommandNotFound, "CommandNotFound", "this server asks for no credentials")
	}
	if _, err := command.LookupErr("saslStart"); err == nil {
		if m, _ := command.Lookup("mechanism").StringValueOK(); m != "SCRAM-SHA-256" {
			return failure(codeMechanismUnavailable, "MechanismUnavailable", "Unable to use "+m+" based authentication")
		}
		s.conversation = s.user.server.NewConversation()
	}
	_, payload, ok := command.Lookup("payload").BinaryOK()
	if !ok || s.conversation == nil {
		return authenticationFailed()
	}
	// The client ends with an empty message, for which the conversation has no step.
	out := ""
	if !s.conversation.Done() {
		var err error
		if out, err = s.conversation.Step(string(payload)); err != nil {
			s.conversation = nil
			return authenticationFailed()
		}
	}
	done := s.conversation.Done()
	s.signedIn = s.signedIn || done && s.conversation.Valid()
	return bson.D{
		{Key: "conversationId", Value: int32(1)}, {Key: "done", Value: done && len(payload) == 0 || done && s.conversation.Valid()},
		{Key: "payload", Value: bson.Binary{Data: []byte(out)}}, {Key: "ok", Value: 1.0},
	}
}

func authenticationFailed() bson.D {
	return failure(codeAuthenticationFailed, "AuthenticationFailed", "Authentication failed.")
}
