package gatewayapi

import (
	"encoding/json"
	"regexp"

	"thaw/gateway"
)

// httpModel is a Model of apigatewayv2.
type httpModel struct {
	ContentType string `json:"contentType,omitempty"`
	Description string `json:"description,omitempty"`
	ID          string `json:"modelId"`
	Name        string `json:"name"`
	Schema      string `json:"schema,omitempty"`
}

func viewModel(m *gateway.Model) httpModel {
	return httpModel{m.ContentType, m.Description, m.ID, m.Name, m.Schema}
}

var modelRE = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)

func (v *httpModel) apply(a *gateway.API, m *gateway.Model) error {
	m.ContentType, m.Description, m.Name, m.Schema = or(v.ContentType, "application/json"), v.Description, v.Name, v.Schema
	if a.Kind != gateway.WebSocket {
		return badRequest("Models are of WebSocket APIs alone")
	}
	for _, other := range a.Draft.Models {
		if other.ID != m.ID && other.Name == m.Name {
			return conflict("Model with name %s already exists for this API", m.Name)
		}
	}
	return validModel(m)
}

func validModel(m *gateway.Model) error {
	switch {
	case !modelRE.MatchString(m.Name):
		return badRequest("Model name must be alphanumeric: %s", m.Name)
	case m.Schema != "" && !json.Valid([]byte(m.Schema)):
		return badRequest("Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified. The schema is no JSON]")
	}
	return nil
}

func (c *call) createModel() (any, error) {
	m := &gateway.Model{ID: newID(6)}
	_, err := c.change(func(a *gateway.API) error {
		v := httpModel{}
		if err := c.read(&v); err != nil {
			return err
		}
		put(&a.Draft.Models, m.ID, m)
		return v.apply(a, m)
	})
	if err != nil {
		return nil, err
	}
	return viewModel(m), nil
}

func (c *call) model(a *gateway.API) (*gateway.Model, error) {
	if m := a.Draft.Models[c.vars["modelId"]]; m != nil {
		return m, nil
	}
	return nil, noSuch("Model", c.vars["modelId"])
}

func (c *call) getModel() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	m, err := c.model(a)
	if err != nil {
		return nil, err
	}
	return viewModel(m), nil
}

func (c *call) getModels() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Models, viewModel)
}

// getModelTemplate is a mapping template to begin with: it hands the body through.
func (c *call) getModelTemplate() (any, error) {
	a, err := c.api()
	if err == nil {
		_, err = c.model(a)
	}
	return map[string]string{"value": "$input.json('$')"}, err
}

func (c *call) updateModel() (any, error) {
	var made *gateway.Model
	_, err := c.change(func(a *gateway.API) error {
		m, err := c.model(a)
		if err != nil {
			return err
		}
		v := viewModel(m)
		if err := c.read(&v); err != nil {
			return err
		}
		made = m
		return v.apply(a, m)
	})
	if err != nil {
		return nil, err
	}
	return viewModel(made), nil
}

func (c *call) deleteModel() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		m, err := c.model(a)
		if err == nil {
			delete(a.Draft.Models, m.ID)
		}
		return err
	})
	return nil, err
}
