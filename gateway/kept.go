package gateway

import (
	"sync"
	"time"
)

// answers are what a Lambda authorizer said, for as long as it may be kept. They are bounded: who sends many tokens
// must not fill the memory.
type answers struct {
	mu   sync.Mutex
	list map[string]keptAnswer
}

type keptAnswer struct {
	*verdict
	until time.Time
}

// maxKept is how many answers of one authorizer are kept.
const maxKept = 4096

func (a *answers) get(key string, now time.Time) (*verdict, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.list[key]
	if !ok || !now.Before(k.until) {
		return nil, false
	}
	return k.verdict, true
}

func (a *answers) put(key string, v *verdict, until, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = map[string]keptAnswer{}
	}
	if len(a.list) >= maxKept {
		for k, old := range a.list {
			if !now.Before(old.until) {
				delete(a.list, k)
			}
		}
		for k := range a.list { // any of them: maps have no order
			if len(a.list) < maxKept {
				break
			}
			delete(a.list, k)
		}
	}
	a.list[key] = keptAnswer{v, until}
}

// forget drops all: FlushStageAuthorizersCache.
func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.list)
}

// FlushAuthorizers drops what the authorizers of a stage have said.
func (s *Server) FlushAuthorizers(api, stageName string) {
	if v, ok := s.states.Load(stateKey{api, stageName}); ok {
		for _, a := range v.(*stage).authorizer {
			a.kept.forget()
		}
	}
}
