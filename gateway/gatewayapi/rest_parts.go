package gatewayapi

import (
	"thaw/gateway"
)

// restValidator is a RequestValidator.
type restValidator struct {
	ID         string `json:"id"`
	Name       string `json:"name,omitempty"`
	Body       bool   `json:"validateRequestBody"`
	Parameters bool   `json:"validateRequestParameters"`
}

func viewValidator(v *gateway.Validator) restValidator {
	return restValidator{v.ID, v.Name, v.Body, v.Parameters}
}

func (c *call) createValidator() (any, error) {
	v := restValidator{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	v.ID = newID(6)
	_, err := c.change(func(a *gateway.API) error {
		put(&a.Draft.Validators, v.ID, &gateway.Validator{ID: v.ID, Name: v.Name, Body: v.Body, Parameters: v.Parameters})
		return nil
	})
	return v, err
}

func (c *call) validator(a *gateway.API) (*gateway.Validator, error) {
	if v := a.Draft.Validators[c.vars["requestvalidator_id"]]; v != nil {
		return v, nil
	}
	return nil, notFound("Invalid Request Validator identifier specified")
}

func (c *call) getValidator() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	v, err := c.validator(a)
	if err != nil {
		return nil, err
	}
	return viewValidator(v), nil
}

func (c *call) getValidators() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Validators, viewValidator)
}

func (c *call) updateValidator() (any, error) {
	shown := restValidator{}
	_, err := c.change(func(a *gateway.API) error {
		v, err := c.validator(a)
		if err != nil {
			return err
		}
		shown = viewValidator(v)
		if err := c.patch(&shown, "name|validateRequestBody|validateRequestParameters", nil); err != nil {
			return err
		}
		v.Name, v.Body, v.Parameters = shown.Name, shown.Body, shown.Parameters
		return nil
	})
	return shown, err
}

func (c *call) deleteValidator() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		v, err := c.validator(a)
		if err != nil {
			return err
		}
		for _, r := range a.Draft.Routes {
			if r.Validator == v.ID {
				return conflict("Cannot delete request validator '%s', is referenced in method: %s", v.ID, r.Key)
			}
		}
		delete(a.Draft.Validators, v.ID)
		return nil
	})
	return nil, err
}

// restModel is a Model of apigateway, which its name names.
type restModel struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Schema      string `json:"schema,omitempty"`
	ContentType string `json:"contentType"`
}

func viewRESTModel(m *gateway.Model) restModel {
	return restModel{m.ID, m.Name, m.Description, m.Schema, m.ContentType}
}

func (c *call) createRESTModel() (any, error) {
	v := restModel{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	m := &gateway.Model{ID: newID(6), Name: v.Name, ContentType: v.ContentType, Description: v.Description, Schema: v.Schema}
	_, err := c.change(func(a *gateway.API) error {
		switch {
		case a.Draft.Models[m.Name] != nil:
			return conflict("Model name already exists for this REST API")
		case m.ContentType == "":
			return badRequest("Content type is required")
		}
		put(&a.Draft.Models, m.Name, m)
		return validModel(m)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTModel(m), nil
}

func (c *call) restModel(a *gateway.API) (*gateway.Model, error) {
	if m := a.Draft.Models[c.vars["model_name"]]; m != nil {
		return m, nil
	}
	return nil, notFound("Invalid Model Name specified: %s", c.vars["model_name"])
}

func (c *call) getRESTModel() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	m, err := c.restModel(a)
	if err != nil {
		return nil, err
	}
	return viewRESTModel(m), nil
}

func (c *call) getRESTModels() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Models, viewRESTModel)
}

func (c *call) getRESTModelTemplate() (any, error) {
	a, err := c.api()
	if err == nil {
		_, err = c.restModel(a)
	}
	return map[string]string{"value": "$input.json('$')"}, err
}

func (c *call) updateRESTModel() (any, error) {
	v := restModel{}
	_, err := c.change(func(a *gateway.API) error {
		m, err := c.restModel(a)
		if err != nil {
			return err
		}
		v = viewRESTModel(m)
		if err := c.patch(&v, "description|schema", nil); err != nil {
			return err
		}
		m.Description, m.Schema = v.Description, v.Schema
		return validModel(m)
	})
	return v, err
}

func (c *call) deleteRESTModel() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		m, err := c.restModel(a)
		if err != nil {
			return err
		}
		for _, r := range a.Draft.Routes {
			for _, name := range r.RequestModels {
				if name == m.Name {
					return conflict("Cannot delete model '%s', is referenced in method request: %s", m.Name, r.Key)
				}
			}
		}
		delete(a.Draft.Models, m.Name)
		return nil
	})
	return nil, err
}
