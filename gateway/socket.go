package gateway

import (
	"net/http"
	"strings"

	"thaw/function"
	"thaw/iam"
)

// What WebSocket APIs share with the others: who may connect, how much may come, and the log of it.

// FunctionOf is the function that the URI of an integration names.
func FunctionOf(uri string, variables map[string]string) (function.ARN, error) {
	return functionOf(uri, variables)
}

// JudgeSocket decides whether the sender of a handshake may have the route $connect. event is what a Lambda authorizer is
// told. The answer is what functions learn of the sender; nil: nothing. Its error is a *Refusal.
func (s *Server) JudgeSocket(r *http.Request, p *Place, rt *Route, event func(methodARN string) ([]byte, error)) (map[string]any, error) {
	who, arn := &Identity{}, p.ExecuteARN("/"+rt.Key)
	c := &call{s: s, r: r, place: p, stage: s.stageOf(p), began: s.Now(), found: &found{route: &route{Route: rt}}}
	switch rt.Authorization {
	case "", "NONE":
	case authIAM:
		caller, key, err := s.senderOf(r, nil)
		if err != nil {
			return nil, err
		}
		who.Caller, who.AccessKey = caller, key
		d := caller.May(iam.Ask{Action: invokeAction, Resource: arn, Context: requestContext(r)}, p.API.Account, nil)
		if err := refusalOf(d, caller.ARN, arn); err != nil && !caller.Everything {
			return nil, err
		}
	default:
		var err error
		who, err = s.Authorize(&Ask{Place: p, Route: rt, Request: r, MethodARN: arn, REST: true,
			Event: func([]string) ([]byte, error) { return event(arn) },
			Value: func(source string) (string, bool) {
				return c.sourceValue(strings.TrimPrefix(strings.TrimPrefix(source, "$"), "route."))
			}})
		if err != nil {
			return nil, err
		}
	}
	if rt.NeedsKey {
		key, plan := s.planOf(r.Header.Get("X-Api-Key"), p)
		if plan == nil {
			return nil, &Refusal{Kind: InvalidAPIKey, Why: "the API key is missing, is not enabled, or no usage plan has it for this stage"}
		}
		if err := s.usage.spend(plan, key, p, "/"+rt.Key, s.Now()); err != nil {
			return nil, err
		}
	}
	said, _ := who.proxyAuthorizer().(map[string]any)
	return said, nil
}

// AllowSocket says whether one more event of a route is within the bound of its stage.
func (s *Server) AllowSocket(p *Place, routeKey string) bool {
	b := s.stageOf(p).buckets[routeKey]
	return b == nil || b.Allow()
}

// LogSocket writes the line of an event into the access log of its stage, if that has one.
func (s *Server) LogSocket(p *Place, variable func(name string) (string, bool)) {
	if st := s.stageOf(p); st.log != nil {
		s.writeAccess(p.Stage, st.log.line(variable))
	}
}

// Answer is how a refusal leaves a REST or WebSocket API.
func (r *Refusal) Answer() (status int, exception, message string) {
	say := sayings[r.Kind]
	if r.Message != "" {
		say.message = r.Message
	}
	return say.status, say.exception, say.message
}
