package gatewayapi

import (
	"encoding/csv"
	"errors"
	"slices"
	"strings"

	"thaw/gateway"
	"thaw/push"
)

// restKey is an ApiKey.
type restKey struct {
	ID          string            `json:"id"`
	Value       string            `json:"value,omitempty"`
	Name        string            `json:"name,omitempty"`
	CustomerID  string            `json:"customerId,omitempty"`
	Description string            `json:"description,omitempty"`
	Enabled     bool              `json:"enabled"`
	Created     epoch             `json:"createdDate"`
	Updated     epoch             `json:"lastUpdatedDate"`
	StageKeys   []string          `json:"stageKeys"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func viewKey(values bool) func(k *gateway.APIKey) restKey {
	return func(k *gateway.APIKey) restKey {
		v := restKey{k.ID, k.Value, k.Name, k.CustomerID, k.Description, k.Enabled, epoch(k.Created), epoch(k.Updated), k.StageKeys, k.Tags}
		if !values {
			v.Value = ""
		}
		if v.StageKeys == nil {
			v.StageKeys = []string{}
		}
		return v
	}
}

func (c *call) keys() map[string]*gateway.APIKey {
	all := map[string]*gateway.APIKey{}
	for _, s := range c.apis().Shared.All() {
		if s.Key != nil {
			all[s.Key.ID] = s.Key
		}
	}
	return all
}

func (c *call) addKey(k *gateway.APIKey) error {
	k.ID, k.Value, k.Created, k.Updated = newID(10), or(k.Value, newID(40)), c.now(), c.now()
	if len(k.Value) < 20 || len(k.Value) > 128 {
		return badRequest("API Key value should be at least 20 characters, and at most 128")
	}
	for _, other := range c.keys() {
		if other.Value == k.Value {
			return conflict("API Key already exists")
		}
	}
	return c.apis().Shared.Put(c.ctx(), "key/"+k.ID, &gateway.Account{Key: k})
}

func (c *call) createKey() (any, error) {
	var in struct {
		restKey
		StageKeys []struct {
			API   string `json:"restApiId"`
			Stage string `json:"stageName"`
		} `json:"stageKeys"`
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	k := &gateway.APIKey{Name: in.Name, Value: in.Value, Description: in.Description, Enabled: in.Enabled, CustomerID: in.CustomerID, Tags: in.Tags}
	for _, s := range in.StageKeys {
		k.StageKeys = append(k.StageKeys, s.API+"/"+s.Stage)
	}
	if err := c.addKey(k); err != nil {
		return nil, err
	}
	return viewKey(true)(k), nil
}

// importKeys makes keys of a table: name, key, description, enabled and usage plans in its columns.
func (c *call) importKeys() (any, error) {
	rows, err := csv.NewReader(strings.NewReader(string(c.body))).ReadAll()
	if err != nil || len(rows) < 2 {
		return nil, badRequest("Failed to parse the CSV file: it has a row of names (Name,Key,Description,Enabled,UsagePlanIds), and one for each key")
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[strings.ToLower(strings.TrimSpace(name))] = i + 1
	}
	out := struct {
		IDs      []string `json:"ids"`
		Warnings []string `json:"warnings"`
	}{[]string{}, []string{}}
	for _, row := range rows[1:] {
		at := func(name string) string {
			if i := column[name]; i > 0 && i <= len(row) {
				return strings.TrimSpace(row[i-1])
			}
			return ""
		}
		k := &gateway.APIKey{Name: at("name"), Value: at("key"), Description: at("description"), Enabled: strings.EqualFold(at("enabled"), "true") || at("enabled") == ""}
		var known *Error
		switch err := c.addKey(k); {
		case errors.As(err, &known) && !c.flag("failonwarnings"):
			out.Warnings = append(out.Warnings, "Unable to import API Key '"+k.Name+"': "+known.Message)
			continue
		case err != nil:
			return nil, err
		}
		out.IDs = append(out.IDs, k.ID)
		for plan := range strings.SplitSeq(at("usageplanids"), "|") {
			if plan = strings.TrimSpace(plan); plan == "" {
				continue
			}
			if _, err := c.changePlan(plan, func(p *gateway.Plan) error { put(&p.Keys, k.ID, "API_KEY"); return nil }); err != nil {
				out.Warnings = append(out.Warnings, "API Key '"+k.Name+"' is in no plan "+plan)
			}
		}
	}
	return out, nil
}

var errNoKey = notFound("Invalid API Key identifier specified")

func (c *call) getKey() (any, error) {
	s := c.apis().Shared.Get("key/" + c.vars["api_Key"])
	if s == nil || s.Key == nil {
		return nil, errNoKey
	}
	return viewKey(c.flag("includeValue"))(s.Key), nil
}

func (c *call) getKeys() (any, error) {
	all := c.keys()
	for id, k := range all {
		customer := c.query.Get("customerId")
		if !strings.HasPrefix(k.Name, c.query.Get("name")) || customer != "" && customer != k.CustomerID {
			delete(all, id)
		}
	}
	return listed(c, all, viewKey(c.flag("includeValues")))
}

func (c *call) updateKey() (any, error) {
	made := new(gateway.APIKey)
	err := c.apis().Shared.Change(c.ctx(), "key/"+c.vars["api_Key"], func(old *gateway.Account) (*gateway.Account, error) {
		if old == nil || old.Key == nil {
			return nil, errNoKey
		}
		v := viewKey(true)(old.Key)
		err := c.patch(&v, "name|description|enabled|customerId", func(o *patchOperation, path []string) (bool, error) {
			if path[0] != "stages" && path[0] != "labels" {
				return false, nil
			}
			i := slices.Index(v.StageKeys, o.value())
			if o.Op == "remove" && i >= 0 {
				v.StageKeys = slices.Delete(slices.Clone(v.StageKeys), i, i+1)
			} else if o.Op != "remove" && i < 0 && path[0] == "stages" {
				v.StageKeys = append(slices.Clone(v.StageKeys), o.value())
			}
			return true, nil
		})
		*made = *old.Key
		made.Name, made.Description, made.Enabled, made.CustomerID, made.StageKeys, made.Updated = v.Name, v.Description, v.Enabled, v.CustomerID, v.StageKeys, c.now()
		return &gateway.Account{Key: made}, err
	})
	if err != nil {
		return nil, err
	}
	return viewKey(true)(made), nil
}

// deleteKey takes the key out of plans, too.
func (c *call) deleteKey() (any, error) {
	id := c.vars["api_Key"]
	if s := c.apis().Shared.Get("key/" + id); s == nil || s.Key == nil {
		return nil, errNoKey
	}
	for _, s := range c.apis().Shared.All() {
		if s.Plan == nil || s.Plan.Keys[id] == "" {
			continue
		}
		if _, err := c.changePlan(s.Plan.ID, func(p *gateway.Plan) error { delete(p.Keys, id); return nil }); err != nil {
			return nil, err
		}
	}
	err := c.apis().Shared.Delete(c.ctx(), "key/"+id)
	if errors.Is(err, push.ErrNone) {
		return nil, errNoKey
	}
	return nil, err
}
