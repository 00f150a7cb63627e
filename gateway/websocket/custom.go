package websocket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"thaw/gateway"
	"thaw/trigger"
)

// custom invokes a function with the message, or what a template makes of it, and sends back its answer as it is, or what
// a template makes of that. Source: API Gateway Developer Guide, "Set up data transformations for WebSocket APIs".
func (s *Server) custom(ctx context.Context, r *run, in *gateway.Integration) (*result, error) {
	body, err := s.request(r, in)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if !json.Valid(body) { // a function takes JSON alone
		if body, err = json.Marshal(string(body)); err != nil {
			return nil, err
		}
	}
	answer, err := s.invoke(ctx, r, in, body)
	if err != nil {
		return nil, err
	}
	return s.answer(r, in, answer)
}

// mock answers without a backend: with the status of the request template, where there is one.
func (s *Server) mock(r *run, in *gateway.Integration) (*result, error) {
	status := http.StatusOK
	if len(in.Templates) > 0 {
		body, err := s.request(r, in)
		if err != nil {
			return nil, err
		}
		var said struct {
			Status int `json:"statusCode"`
		}
		if json.Unmarshal(body, &said) == nil && said.Status >= 200 && said.Status <= 599 {
			status = said.Status
		}
	}
	got, err := s.answer(r, in, nil)
	if err == nil {
		got.Status = status
	}
	return got, err
}

// request is what an integration is sent.
func (s *Server) request(r *run, in *gateway.Integration) ([]byte, error) {
	key := defaultKey
	if in.TemplateChoice != "" {
		key = cmp.Or(r.selection(r.body).Select(in.TemplateChoice), defaultKey)
	}
	text, ok := in.Templates[key]
	if !ok {
		text, ok = in.Templates[defaultKey]
	}
	switch {
	case ok:
		return s.render(r, text, r.body)
	case in.Passthrough == "NEVER", in.Passthrough == "WHEN_NO_TEMPLATES" && len(in.Templates) > 0:
		return nil, errors.New("no request template matches, and passthroughBehavior forbids to pass the message on")
	}
	return r.body, nil
}

// answer is what goes back of an integration's answer.
func (s *Server) answer(r *run, in *gateway.Integration, body []byte) (*result, error) {
	got := &result{Response: &trigger.Response{Status: http.StatusOK, Body: body}}
	shape := in.Responses["/200/"] // keys are patterns of statuses: a function that has answered is 200
	if shape == nil {
		shape = in.Responses[defaultKey]
	}
	if shape == nil {
		return got, nil
	}
	if n, err := strconv.Atoi(shape.Status); err == nil && n >= 200 && n <= 599 {
		got.Status = n
	}
	key := defaultKey
	if shape.Selection != "" {
		key = cmp.Or(r.selection(body).Select(shape.Selection), defaultKey)
	}
	text, ok := shape.Templates[key]
	if !ok {
		text, ok = shape.Templates[defaultKey]
	}
	if !ok {
		return got, nil
	}
	var err error
	got.Body, err = s.render(r, text, body)
	return got, err
}

func (r *run) selection(body []byte) *Selection {
	return &Selection{Body: body, Variables: r.place.Stage.Variables,
		Context: map[string]string{"connectionId": r.c.id, "apiId": r.c.at.api, "stage": r.c.at.stage,
			"domainName": r.c.domain, "routeKey": r.route.Key, "eventType": r.kind}}
}

func (s *Server) render(r *run, text string, body []byte) ([]byte, error) {
	if s.o.Templates == nil {
		return nil, errors.New("mapping templates are not served here; use an integration of type AWS_PROXY")
	}
	return s.o.Templates.Render(text, &gateway.TemplateInput{Body: body, Stage: r.place.Stage.Variables,
		Context: func(name string) string { v, _ := r.variable(name); return v }})
}
