package gatewayapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"thaw/gateway"
)

// api is the one that the path names, of the kinds that the operation's version has.
func (c *call) api() (*gateway.API, error) {
	a := c.apis().APIs.Get(c.apiID())
	if !c.ours(a) || c.version2() == (a.Kind == gateway.REST) {
		return nil, c.noAPI()
	}
	return a, nil
}

func (c *call) apiID() string {
	if c.version2() {
		return c.vars["apiId"]
	}
	return c.vars["restapi_id"]
}

func (c *call) noAPI() *Error {
	if c.version2() {
		return noSuch("API", c.apiID())
	}
	return noSuch("API", c.s.o.AccountID+":"+c.apiID())
}

// change gives an API to f as a copy that it may change in place, and stores it. A change of the draft is deployed to the
// stages that want so. It returns what was stored.
func (c *call) change(f func(a *gateway.API) error) (*gateway.API, error) {
	var made *gateway.API
	err := c.apis().APIs.Change(c.ctx(), c.apiID(), func(old *gateway.API) (*gateway.API, error) {
		if !c.ours(old) || c.version2() == (old.Kind == gateway.REST) {
			return nil, c.noAPI()
		}
		a, draft, err := copyOf(old)
		if err != nil {
			return nil, err
		}
		if err := f(a); err != nil {
			return nil, err
		}
		now, err := json.Marshal(&a.Draft)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(draft, now) {
			if err := c.deployAuto(a); err != nil {
				return nil, err
			}
		}
		made = a
		return a, nil
	})
	return made, err
}

// copyOf is a copy that shares what never changes, definitions of deployments, and the draft as JSON.
func copyOf(old *gateway.API) (*gateway.API, []byte, error) {
	head := *old
	head.Deployments = nil
	b, err := json.Marshal(&head)
	if err != nil {
		return nil, nil, err
	}
	a := new(gateway.API)
	if err := json.Unmarshal(b, a); err != nil {
		return nil, nil, err
	}
	a.Deployments = maps.Clone(old.Deployments)
	if a.Deployments == nil {
		a.Deployments = map[string]*gateway.Deployment{}
	}
	if a.Stages == nil {
		a.Stages = map[string]*gateway.Stage{}
	}
	draft, err := json.Marshal(&a.Draft)
	return a, draft, err
}

// frozen is a definition that shares nothing with another.
func frozen(d *gateway.Definition) (made gateway.Definition, err error) {
	b, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	return made, err
}

// deploy makes a deployment of the draft.
func (c *call) deploy(a *gateway.API, description string, auto bool) (*gateway.Deployment, error) {
	d, err := frozen(&a.Draft)
	if err != nil {
		return nil, err
	}
	made := &gateway.Deployment{ID: newID(6), Description: description, Created: c.now(), Auto: auto, Definition: d}
	a.Deployments[made.ID] = made
	return made, nil
}

// deployAuto deploys the draft to the stages that are to have each change of it. What was deployed so before and no stage
// serves any more is forgotten: an API would grow with every change.
func (c *call) deployAuto(a *gateway.API) error {
	var made *gateway.Deployment
	for _, name := range slices.Sorted(maps.Keys(a.Stages)) {
		st := a.Stages[name]
		if !st.Auto {
			continue
		}
		if made == nil {
			var err error
			if made, err = c.deploy(a, "Automatic deployment triggered by changes to the Api configuration", true); err != nil {
				return err
			}
		}
		c.serve(st, made)
		st.Message = fmt.Sprintf("Successfully deployed stage with deployment ID '%s'", made.ID)
	}
	forgetUnserved(a)
	return nil
}

func (c *call) serve(st *gateway.Stage, d *gateway.Deployment) {
	st.Deployment, st.Updated = d.ID, c.now()
}

func forgetUnserved(a *gateway.API) {
	maps.DeleteFunc(a.Deployments, func(id string, d *gateway.Deployment) bool { return d.Auto && !served(a, id) })
}

// served says whether a stage serves a deployment.
func served(a *gateway.API, deployment string) bool {
	for _, st := range a.Stages {
		if st.Deployment == deployment {
			return true
		}
	}
	return false
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

// newID is n random lower-case letters and digits, a letter first.
func newID(n int) string {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // it never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	b[0] = letters[int(b[0])%26]
	return string(b)
}
