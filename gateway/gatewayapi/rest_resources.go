package gatewayapi

import (
	"maps"
	"regexp"
	"strings"

	"thaw/gateway"
)

// restResource is a Resource.
type restResource struct {
	ID      string         `json:"id"`
	Parent  string         `json:"parentId,omitempty"`
	Part    string         `json:"pathPart,omitempty"`
	Path    string         `json:"path"`
	Methods map[string]any `json:"resourceMethods,omitempty"`
}

// viewResource shows methods whole to those who embed them, and else their names.
func (c *call) viewResource(d *gateway.Definition) func(r *gateway.Resource) restResource {
	whole := strings.Contains(strings.Join(c.query["embed"], ","), "methods")
	return func(r *gateway.Resource) restResource {
		v := restResource{ID: r.ID, Parent: r.Parent, Part: r.Part, Path: r.Path}
		for _, m := range d.Routes {
			switch {
			case m.Resource != r.ID:
			case whole:
				put(&v.Methods, methodOf(m), any(viewMethod(d, m)))
			default:
				put(&v.Methods, methodOf(m), any(struct{}{}))
			}
		}
		return v
	}
}

var partRE = regexp.MustCompile(`^(?:[a-zA-Z0-9._:-]+|\{[a-zA-Z0-9._:-]+\+?\})$`)

// validPart judges a part of a path below a parent.
func validPart(d *gateway.Definition, id, parent, part string) error {
	up := d.Resources[parent]
	if !partRE.MatchString(part) {
		return badRequest("Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end.")
	}
	if strings.HasSuffix(up.Part, "+}") {
		return badRequest("Cannot create a child of a resource with a greedy path variable.")
	}
	for _, other := range d.Resources {
		switch {
		case other.ID == id || other.Parent != parent:
		case other.Part == part:
			return conflict("Another resource with the same parent already has this name: %s", part)
		case strings.HasPrefix(other.Part, "{") && strings.HasPrefix(part, "{") && strings.HasSuffix(other.Part, "+}") == strings.HasSuffix(part, "+}"):
			return badRequest("A sibling (%s) of this resource already has a variable path part -- only one is allowed", other.Part)
		}
	}
	name := strings.TrimRight(part, "+}")
	for at := up; at != nil; at = d.Resources[at.Parent] {
		if strings.HasPrefix(part, "{") && strings.TrimRight(at.Part, "+}") == name {
			return badRequest("Resource's path part has a variable that a part before it has: %s", part)
		}
	}
	return nil
}

// repath sets the paths of a resource and all below it, and the keys of their methods.
func repath(d *gateway.Definition, r *gateway.Resource) {
	if r.Parent != "" {
		r.Path = strings.TrimSuffix(d.Resources[r.Parent].Path, "/") + "/" + r.Part
	}
	for _, m := range d.Routes {
		if m.Resource == r.ID {
			m.Key = methodOf(m) + " " + r.Path
		}
	}
	for _, below := range d.Resources {
		if below.Parent == r.ID {
			repath(d, below)
		}
	}
}

func (c *call) resource(d *gateway.Definition) (*gateway.Resource, error) {
	if r := d.Resources[c.vars["resource_id"]]; r != nil {
		return r, nil
	}
	return nil, notFound("Invalid Resource identifier specified")
}

func (c *call) createResource() (any, error) {
	var in struct {
		PathPart string `json:"pathPart"`
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	r := &gateway.Resource{ID: newID(6), Parent: c.vars["parent_id"], Part: in.PathPart}
	a, err := c.change(func(a *gateway.API) error {
		d := &a.Draft
		if d.Resources[r.Parent] == nil {
			return notFound("Invalid Resource identifier specified")
		}
		if err := validPart(d, r.ID, r.Parent, r.Part); err != nil {
			return err
		}
		if len(d.Resources) >= mostRoutes {
			return tooMany("resources", mostRoutes)
		}
		d.Resources[r.ID] = r
		repath(d, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.viewResource(&a.Draft)(r), nil
}

func (c *call) getResource() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	r, err := c.resource(&a.Draft)
	if err != nil {
		return nil, err
	}
	return c.viewResource(&a.Draft)(r), nil
}

func (c *call) getResources() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Resources, c.viewResource(&a.Draft))
}

func (c *call) updateResource() (any, error) {
	var made *gateway.Resource
	a, err := c.change(func(a *gateway.API) error {
		d := &a.Draft
		r, err := c.resource(d)
		if err != nil {
			return err
		}
		v := restResource{Parent: r.Parent, Part: r.Part}
		if err := c.patch(&v, "pathPart|parentId", nil); err != nil {
			return err
		}
		for at := v.Parent; at != ""; at = d.Resources[at].Parent {
			if at == r.ID || d.Resources[at] == nil {
				return badRequest("Invalid parent resource specified: %s", v.Parent)
			}
		}
		if r.Parent == "" || v.Parent == "" {
			return badRequest("The root resource cannot be changed")
		}
		if err := validPart(d, r.ID, v.Parent, v.Part); err != nil {
			return err
		}
		r.Parent, r.Part, made = v.Parent, v.Part, r
		repath(d, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.viewResource(&a.Draft)(made), nil
}

func (c *call) deleteResource() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.resource(&a.Draft)
		if err != nil {
			return err
		}
		if r.Parent == "" {
			return badRequest("Cannot delete the root resource of an API")
		}
		dropResource(&a.Draft, r.ID)
		return nil
	})
	return nil, err
}

// dropResource takes out a resource with all below it.
func dropResource(d *gateway.Definition, id string) {
	for _, below := range maps.Clone(d.Resources) {
		if below.Parent == id {
			dropResource(d, below.ID)
		}
	}
	for key, m := range d.Routes {
		if m.Resource == id {
			delete(d.Routes, key)
			delete(d.Integrations, key)
		}
	}
	delete(d.Resources, id)
}
