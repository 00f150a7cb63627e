package gatewayapi

import (
	"strings"

	"thaw/gateway"
)

// restDeployment is a Deployment of apigateway.
type restDeployment struct {
	ID          string                               `json:"id"`
	Description string                               `json:"description,omitempty"`
	Created     epoch                                `json:"createdDate"`
	Summary     map[string]map[string]methodSnapshot `json:"apiSummary,omitempty"`
}

type methodSnapshot struct {
	Authorization string `json:"authorizationType"`
	NeedsKey      bool   `json:"apiKeyRequired"`
}

// viewRESTDeployment shows what is in it to those who embed that, and to whoever has just made it.
func (c *call) viewRESTDeployment(whole bool) func(d *gateway.Deployment) restDeployment {
	whole = whole || strings.Contains(strings.ToLower(strings.Join(c.query["embed"], ",")), "apisummary")
	return func(d *gateway.Deployment) restDeployment {
		v := restDeployment{ID: d.ID, Description: d.Description, Created: epoch(d.Created)}
		for _, r := range d.Definition.Routes {
			if !whole {
				break
			}
			method, path, _ := strings.Cut(r.Key, " ")
			if v.Summary[path] == nil {
				put(&v.Summary, path, map[string]methodSnapshot{})
			}
			v.Summary[path][method] = methodSnapshot{r.Authorization, r.NeedsKey}
		}
		return v
	}
}

// deployable says what keeps an API from being deployed.
func deployable(d *gateway.Definition) error {
	if len(d.Routes) == 0 {
		return badRequest("The REST API doesn't contain any methods")
	}
	for _, r := range d.Routes {
		if d.Integrations[r.ID] == nil {
			return badRequest("No integration defined for method")
		}
	}
	return nil
}

func (c *call) createRESTDeployment() (any, error) {
	var in struct {
		restStage
		StageDescription string `json:"stageDescription"`
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	var made *gateway.Deployment
	_, err := c.change(func(a *gateway.API) (err error) {
		if err := deployable(&a.Draft); err != nil {
			return err
		}
		if made, err = c.deploy(a, in.Description, false); err != nil || in.Name == "" {
			return err
		}
		if st := a.Stages[in.Name]; st != nil {
			c.serve(st, made)
			if in.Variables != nil {
				st.Variables = in.Variables
			}
			return validVariables(st.Variables)
		}
		in.Deployment, in.Description = made.ID, in.StageDescription
		_, err = c.addStage(a, &in.restStage)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.viewRESTDeployment(true)(made), nil
}

func (c *call) getRESTDeployment() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	d, err := c.deployment(a)
	if err != nil {
		return nil, err
	}
	return c.viewRESTDeployment(false)(d), nil
}

func (c *call) getRESTDeployments() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Deployments, c.viewRESTDeployment(false))
}

func (c *call) updateRESTDeployment() (any, error) {
	var made gateway.Deployment
	_, err := c.change(func(a *gateway.API) error {
		d, err := c.deployment(a)
		if err != nil {
			return err
		}
		made = *d
		v := restDeployment{Description: d.Description}
		if err := c.patch(&v, "description", nil); err != nil {
			return err
		}
		made.Description = v.Description
		a.Deployments[d.ID] = &made
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.viewRESTDeployment(false)(&made), nil
}
