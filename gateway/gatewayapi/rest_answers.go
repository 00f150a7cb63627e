package gatewayapi

import (
	"strings"

	"thaw/gateway"
)

// restAnswer is a GatewayResponse: what the API says itself.
type restAnswer struct {
	Type       string            `json:"responseType"`
	Status     string            `json:"statusCode,omitempty"`
	Parameters map[string]string `json:"responseParameters"`
	Templates  map[string]string `json:"responseTemplates"`
	Default    bool              `json:"defaultResponse"`
}

// answerTypes are the kinds of answers with their statuses. Source: Developer Guide, "Gateway response types".
var answerTypes = map[string]string{"ACCESS_DENIED": "403", "API_CONFIGURATION_ERROR": "500", "AUTHORIZER_CONFIGURATION_ERROR": "500", "AUTHORIZER_FAILURE": "500",
	"BAD_REQUEST_BODY": "400", "BAD_REQUEST_PARAMETERS": "400", "DEFAULT_4XX": "", "DEFAULT_5XX": "", "EXPIRED_TOKEN": "403", "INTEGRATION_FAILURE": "504",
	"INTEGRATION_TIMEOUT": "504", "INVALID_API_KEY": "403", "INVALID_SIGNATURE": "403", "MISSING_AUTHENTICATION_TOKEN": "403", "QUOTA_EXCEEDED": "429",
	"REQUEST_TOO_LARGE": "413", "RESOURCE_NOT_FOUND": "404", "THROTTLED": "429", "UNAUTHORIZED": "401", "UNSUPPORTED_MEDIA_TYPE": "415", "WAF_FILTERED": "403"}

// usualTemplate is what those say that nothing was said of.
var usualTemplate = map[string]string{"application/json": `{"message":$context.error.messageString}`}

func viewAnswer(z *gateway.Answer) restAnswer {
	v := restAnswer{Type: z.Type, Status: z.Status, Parameters: z.Parameters, Templates: z.Templates}
	if v.Parameters == nil {
		v.Parameters = map[string]string{}
	}
	if v.Templates == nil {
		v.Templates = map[string]string{}
	}
	return v
}

func (c *call) answerOf(d *gateway.Definition) (restAnswer, error) {
	kind := c.vars["response_type"]
	status, is := answerTypes[kind]
	switch {
	case !is:
		return restAnswer{}, notFound("Invalid gateway response type specified: %s", kind)
	case d.Answers[kind] != nil:
		return viewAnswer(d.Answers[kind]), nil
	}
	return restAnswer{Type: kind, Status: status, Parameters: map[string]string{}, Templates: usualTemplate, Default: true}, nil
}

func (v *restAnswer) apply(d *gateway.Definition) error {
	if v.Status != "" && !statusRE.MatchString(v.Status) {
		return badRequest("Invalid status code specified: %s", v.Status)
	}
	for name := range v.Parameters {
		if !strings.HasPrefix(name, "gatewayresponse.header.") {
			return badRequest("Invalid response parameter specified: %s; it is gatewayresponse.header.NAME", name)
		}
	}
	put(&d.Answers, v.Type, &gateway.Answer{Type: v.Type, Status: v.Status, Parameters: v.Parameters, Templates: v.Templates})
	return nil
}

func (c *call) putAnswer() (any, error) {
	v := restAnswer{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	_, err := c.change(func(a *gateway.API) error {
		usual, err := c.answerOf(&a.Draft)
		if err != nil {
			return err
		}
		v.Type, v.Status = usual.Type, or(v.Status, usual.Status)
		if v.Templates == nil {
			v.Templates = usualTemplate
		}
		return v.apply(&a.Draft)
	})
	if v.Parameters == nil {
		v.Parameters = map[string]string{}
	}
	return v, err
}

func (c *call) getAnswer() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return c.answerOf(&a.Draft)
}

func (c *call) getAnswers() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	all := map[string]restAnswer{}
	for kind := range answerTypes {
		c.vars["response_type"] = kind
		if all[kind], err = c.answerOf(&a.Draft); err != nil {
			return nil, err
		}
	}
	return listed(c, all, func(v restAnswer) restAnswer { return v })
}

func (c *call) updateAnswer() (any, error) {
	v := restAnswer{}
	_, err := c.change(func(a *gateway.API) (err error) {
		if v, err = c.answerOf(&a.Draft); err != nil {
			return err
		}
		v.Templates, v.Parameters = cloned(v.Templates), cloned(v.Parameters)
		if err := c.patch(&v, "statusCode|responseParameters|responseTemplates", nil); err != nil {
			return err
		}
		v.Default = false
		return v.apply(&a.Draft)
	})
	return v, err
}

// cloned is a copy that is there, empty or not.
func cloned(m map[string]string) map[string]string {
	made := make(map[string]string, len(m))
	for k, v := range m {
		made[k] = v
	}
	return made
}

func (c *call) deleteAnswer() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		if a.Draft.Answers[c.vars["response_type"]] == nil {
			return notFound("Gateway response type not defined on API")
		}
		delete(a.Draft.Answers, c.vars["response_type"])
		return nil
	})
	return nil, err
}
