package gatewayapi

import (
	"thaw/gateway"
)

// routeResponse is a RouteResponse of WebSocket APIs.
type routeResponse struct {
	Selection  string              `json:"modelSelectionExpression,omitempty"`
	Models     map[string]string   `json:"responseModels,omitempty"`
	Parameters map[string]required `json:"responseParameters,omitempty"`
	ID         string              `json:"routeResponseId"`
	Key        string              `json:"routeResponseKey"`
}

// keyed is a record with the key that it is stored by.
type keyed[T any] struct {
	key string
	v   T
}

// found is the record with an ID.
func found[T any](all map[string]keyed[T], what, id string) (keyed[T], error) {
	k, is := all[id]
	if !is {
		return k, noSuch(what, id)
	}
	return k, nil
}

func viewRouteResponse(k keyed[*gateway.Response]) routeResponse {
	return routeResponse{k.v.Selection, k.v.Models, viewRequired(k.v.Parameters), k.v.ID, k.key}
}

func (v *routeResponse) made() *gateway.Response {
	return &gateway.Response{ID: v.ID, Parameters: madeRequired(v.Parameters), Models: v.Models, Selection: v.Selection}
}

func socketsOnly(a *gateway.API, what string) error {
	if a.Kind == gateway.WebSocket {
		return nil
	}
	return badRequest("%s are of WebSocket APIs alone", what)
}

func (c *call) createRouteResponse() (any, error) {
	v := routeResponse{}
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.route(a)
		if err != nil {
			return err
		}
		if err := c.read(&v); err != nil {
			return err
		}
		v.ID = newID(6)
		switch {
		case v.Key != "$default":
			return badRequest("Invalid route response key: $default is the only one there is")
		case r.Responses[v.Key] != nil:
			return conflict("Route response with key %s already exists for this route", v.Key)
		}
		put(&r.Responses, v.Key, v.made())
		return socketsOnly(a, "Route responses")
	})
	return v, err
}

func (c *call) routeResponses() (map[string]keyed[*gateway.Response], error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	_, all, err := c.routeResponsesOf(a)
	return all, err
}

func (c *call) routeResponsesOf(a *gateway.API) (*gateway.Route, map[string]keyed[*gateway.Response], error) {
	r, err := c.route(a)
	if err != nil {
		return nil, nil, err
	}
	all := map[string]keyed[*gateway.Response]{}
	for key, v := range r.Responses {
		all[v.ID] = keyed[*gateway.Response]{key, v}
	}
	return r, all, nil
}

func (c *call) getRouteResponses() (any, error) {
	all, err := c.routeResponses()
	if err != nil {
		return nil, err
	}
	return listed(c, all, viewRouteResponse)
}

func (c *call) getRouteResponse() (any, error) {
	all, err := c.routeResponses()
	if err != nil {
		return nil, err
	}
	k, err := found(all, "RouteResponse", c.vars["routeResponseId"])
	if err != nil {
		return nil, err
	}
	return viewRouteResponse(k), nil
}

func (c *call) updateRouteResponse() (any, error) {
	v := routeResponse{}
	_, err := c.change(func(a *gateway.API) error {
		r, all, err := c.routeResponsesOf(a)
		if err != nil {
			return err
		}
		k, err := found(all, "RouteResponse", c.vars["routeResponseId"])
		if err != nil {
			return err
		}
		v = viewRouteResponse(k)
		if err := c.over(&v, &v.Models); err != nil {
			return err
		}
		v.ID, v.Key = k.v.ID, k.key
		r.Responses[k.key] = v.made()
		return nil
	})
	return v, err
}

func (c *call) deleteRouteResponse() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, all, err := c.routeResponsesOf(a)
		if err != nil {
			return err
		}
		k, err := found(all, "RouteResponse", c.vars["routeResponseId"])
		if err != nil {
			return err
		}
		delete(r.Responses, k.key)
		return nil
	})
	return nil, err
}

// integrationResponse is an IntegrationResponse of WebSocket APIs.
type integrationResponse struct {
	Content    string            `json:"contentHandlingStrategy,omitempty"`
	ID         string            `json:"integrationResponseId"`
	Key        string            `json:"integrationResponseKey"`
	Parameters map[string]string `json:"responseParameters,omitempty"`
	Templates  map[string]string `json:"responseTemplates,omitempty"`
	Selection  string            `json:"templateSelectionExpression,omitempty"`
}

func viewIntegrationResponse(k keyed[*gateway.Reshaping]) integrationResponse {
	return integrationResponse{k.v.Content, k.v.ID, k.key, k.v.Parameters, k.v.Templates, k.v.Selection}
}

func (v *integrationResponse) made() *gateway.Reshaping {
	return &gateway.Reshaping{ID: v.ID, Parameters: v.Parameters, Templates: v.Templates, Selection: v.Selection, Content: v.Content}
}

func (c *call) createIntegrationResponse() (any, error) {
	v := integrationResponse{}
	_, err := c.change(func(a *gateway.API) error {
		i, err := c.integration(a)
		if err != nil {
			return err
		}
		if err := c.read(&v); err != nil {
			return err
		}
		v.ID = newID(6)
		switch {
		case v.Key == "":
			return badRequest("Integration response key is required: $default, or /EXPRESSION/")
		case i.Responses[v.Key] != nil:
			return conflict("Integration response with key %s already exists for this integration", v.Key)
		}
		put(&i.Responses, v.Key, v.made())
		return socketsOnly(a, "Integration responses")
	})
	return v, err
}

func (c *call) integrationResponsesOf(a *gateway.API) (*gateway.Integration, map[string]keyed[*gateway.Reshaping], error) {
	i, err := c.integration(a)
	if err != nil {
		return nil, nil, err
	}
	all := map[string]keyed[*gateway.Reshaping]{}
	if a.Kind == gateway.WebSocket {
		for key, v := range i.Responses {
			all[v.ID] = keyed[*gateway.Reshaping]{key, v}
		}
	}
	return i, all, nil
}

func (c *call) integrationResponses() (map[string]keyed[*gateway.Reshaping], error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	_, all, err := c.integrationResponsesOf(a)
	return all, err
}

func (c *call) getIntegrationResponses() (any, error) {
	all, err := c.integrationResponses()
	if err != nil {
		return nil, err
	}
	return listed(c, all, viewIntegrationResponse)
}

func (c *call) getIntegrationResponse() (any, error) {
	all, err := c.integrationResponses()
	if err != nil {
		return nil, err
	}
	k, err := found(all, "IntegrationResponse", c.vars["integrationResponseId"])
	if err != nil {
		return nil, err
	}
	return viewIntegrationResponse(k), nil
}

func (c *call) updateIntegrationResponse() (any, error) {
	v := integrationResponse{}
	_, err := c.change(func(a *gateway.API) error {
		i, all, err := c.integrationResponsesOf(a)
		if err != nil {
			return err
		}
		k, err := found(all, "IntegrationResponse", c.vars["integrationResponseId"])
		if err != nil {
			return err
		}
		v = viewIntegrationResponse(k)
		if err := c.over(&v, &v.Templates); err != nil {
			return err
		}
		v.ID = k.v.ID
		delete(i.Responses, k.key)
		put(&i.Responses, v.Key, v.made())
		return nil
	})
	return v, err
}

func (c *call) deleteIntegrationResponse() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		i, all, err := c.integrationResponsesOf(a)
		if err != nil {
			return err
		}
		k, err := found(all, "IntegrationResponse", c.vars["integrationResponseId"])
		if err != nil {
			return err
		}
		delete(i.Responses, k.key)
		return nil
	})
	return nil, err
}
