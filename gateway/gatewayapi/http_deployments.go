package gatewayapi

import (
	"time"

	"thaw/gateway"
)

// httpDeployment is a Deployment of apigatewayv2.
type httpDeployment struct {
	Auto        bool       `json:"autoDeployed"`
	Created     *time.Time `json:"createdDate,omitempty"`
	ID          string     `json:"deploymentId"`
	Status      string     `json:"deploymentStatus"`
	Description string     `json:"description,omitempty"`
}

func viewDeployment(d *gateway.Deployment) httpDeployment {
	return httpDeployment{d.Auto, &d.Created, d.ID, "DEPLOYED", d.Description}
}

func (c *call) createDeployment() (any, error) {
	var in struct{ Description, StageName string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	var made *gateway.Deployment
	_, err := c.change(func(a *gateway.API) (err error) {
		if len(a.Draft.Routes) == 0 {
			return badRequest("At least one route is required before deploying the Api.")
		}
		st := a.Stages[in.StageName]
		switch {
		case in.StageName == "":
		case st == nil:
			return errNoStage
		case st.Auto:
			return badRequest("Deployments cannot be created for a stage with autoDeploy: it deploys every change itself")
		}
		if made, err = c.deploy(a, in.Description, false); err != nil {
			return err
		}
		if st != nil {
			c.serve(st, made)
			forgetUnserved(a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewDeployment(made), nil
}

// deployment is the one that the path names; of either version.
func (c *call) deployment(a *gateway.API) (*gateway.Deployment, error) {
	id := or(c.vars["deploymentId"], c.vars["deployment_id"])
	if d := a.Deployments[id]; d != nil {
		return d, nil
	}
	return nil, noSuch("Deployment", id)
}

func (c *call) getDeployment() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	d, err := c.deployment(a)
	if err != nil {
		return nil, err
	}
	return viewDeployment(d), nil
}

func (c *call) getDeployments() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Deployments, viewDeployment)
}

func (c *call) updateDeployment() (any, error) {
	var made gateway.Deployment
	_, err := c.change(func(a *gateway.API) error {
		d, err := c.deployment(a)
		if err != nil {
			return err
		}
		made = *d
		v := viewDeployment(d)
		if err := c.read(&v); err != nil {
			return err
		}
		made.Description = v.Description
		a.Deployments[d.ID] = &made
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewDeployment(&made), nil
}

func (c *call) deleteDeployment() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		d, err := c.deployment(a)
		if err != nil {
			return err
		}
		if served(a, d.ID) {
			return badRequest("Active stages pointing to this deployment must be moved or deleted")
		}
		delete(a.Deployments, d.ID)
		return nil
	})
	return nil, err
}
