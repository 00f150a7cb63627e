package api

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"thaw/controlplane"
	"thaw/function"
)

// aliasConfiguration is the wire's AliasConfiguration.
type aliasConfiguration struct {
	AliasArn        function.ARN
	Name            function.Qualifier
	FunctionVersion function.VersionNumber
	Description     string
	RoutingConfig   *routingConfig `json:",omitempty"`
	RevisionId      string
}

type routingConfig struct {
	AdditionalVersionWeights map[function.VersionNumber]float64
}

func aliased(e *function.Entry, name function.Qualifier, a *function.Alias) aliasConfiguration {
	out := aliasConfiguration{AliasArn: e.Record.ARN().Qualified(name), Name: name, FunctionVersion: a.Version, Description: a.Description,
		RevisionId: a.RevisionID}
	if len(a.Weights) > 0 {
		out.RoutingConfig = &routingConfig{a.Weights}
	}
	return out
}

// aliasInput is what CreateAlias and UpdateAlias share.
type aliasInput struct {
	FunctionVersion *function.VersionNumber
	Description     *string
	RoutingConfig   *routingConfig
}

func (in *aliasInput) settings() controlplane.AliasSettings {
	s := controlplane.AliasSettings{Version: in.FunctionVersion, Description: in.Description}
	if in.RoutingConfig != nil {
		s.Weights = &in.RoutingConfig.AdditionalVersionWeights
	}
	return s
}

const (
	aliasPattern   = `(?!^[0-9]+$)([a-zA-Z0-9-_]+)`
	versionPattern = `(\$LATEST(\.PUBLISHED)?|[0-9]+)`
	weightPattern  = `[0-9]+`
)

var (
	aliasChars = whole(`[a-zA-Z0-9-_]+`)
	digitsRE   = whole(weightPattern)
	versionRE  = whole(versionPattern)
)

func (in *aliasInput) check(v *violations) {
	v.text("functionVersion", (*string)(in.FunctionVersion), 1, 1024, versionRE, versionPattern)
	v.text("description", in.Description, 0, 256, nil, "")
	if in.RoutingConfig != nil {
		v.weights(in.RoutingConfig.AdditionalVersionWeights)
	}
}

// weights checks the shares of an alias, as recorded.
func (v *violations) weights(weights map[function.VersionNumber]float64) {
	var shown []string
	keys, values := true, true
	for _, n := range slices.Sorted(maps.Keys(weights)) {
		w := weights[n]
		shown = append(shown, string(n)+"="+double(w))
		keys = keys && digitsRE.MatchString(string(n)) && len(n) <= 1024
		values = values && w >= 0 && w <= 1
	}
	all := quoted("{" + strings.Join(shown, ", ") + "}")
	if !keys {
		v.add(all, "routingConfig.additionalVersionWeights", "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "+
			"Member must have length greater than or equal to 1, "+patternRule(weightPattern)+"]")
	}
	if !values {
		v.add(all, "routingConfig.additionalVersionWeights", "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "+
			"Member must have value greater than or equal to 0.0, Member must not be null]")
	}
}

// double prints a number as the service does: always with a decimal point.
func double(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// aliasName checks the name of an alias. Its pattern has a negative lookahead, which Go's expressions lack.
func (v *violations) aliasName(name *string) {
	if name == nil {
		v.notNull("name", true)
		return
	}
	v.pattern("name", *name, 128, aliasChars, aliasPattern, function.Qualifier(*name).Kind() != function.QualifierNumber)
}

// pattern checks a required text, with a rule that its expression cannot say.
func (v *violations) pattern(member, s string, maxLen int, re *regexp.Regexp, shown string, also bool) {
	if len(s) > maxLen {
		v.add(quoted(s), member, fmt.Sprintf("Member must have length less than or equal to %d", maxLen))
	}
	if !re.MatchString(s) || !also {
		v.add(quoted(s), member, patternRule(shown))
	}
}

type createAliasInput struct {
	Name *string
	aliasInput
}

func (in *createAliasInput) check(v *violations) {
	v.aliasName(in.Name)
	v.notNull("functionVersion", in.FunctionVersion == nil)
	in.aliasInput.check(v)
}

// CreateAlias: POST /2015-03-31/functions/{FunctionName}/aliases -> 201. Supported.
func (c *call) createAlias() error {
	var in createAliasInput
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	name := function.Qualifier(*in.Name)
	e, a, err := c.s.Plane.CreateAlias(c.r.Context(), t.key, name, in.settings())
	if err != nil {
		return absent(err, t.arn().Version(*in.FunctionVersion))
	}
	return c.json(http.StatusCreated, aliased(e, name, a))
}

// aliasLabel is the form of operations whose alias is in the path, around the body of one.
type aliasLabel struct {
	name string
	body form
}

func (l aliasLabel) check(v *violations) {
	v.aliasName(&l.name)
	if l.body != nil {
		l.body.check(v)
	}
}

// readAlias is how operations about one alias begin.
func (c *call) readAlias(body form) (target, error) {
	if body != nil {
		if err := c.decode(body); err != nil {
			return target{}, err
		}
	}
	t, err := c.readChecked(writeNames, aliasLabel{c.labels[1], body})
	t.qualifier = function.Qualifier(c.labels[1])
	return t, err
}

// GetAlias: GET /2015-03-31/functions/{FunctionName}/aliases/{Name} -> 200. Supported.
func (c *call) getAlias() error {
	t, err := c.readAlias(nil)
	if err != nil {
		return err
	}
	if e := c.s.view.Get(t.key); e != nil {
		if a := e.Alias(t.qualifier); a != nil {
			return c.json(http.StatusOK, aliased(e, t.qualifier, a))
		}
	}
	return noAlias(t.qualified())
}

type updateAliasInput struct {
	aliasInput
	RevisionId string
}

// UpdateAlias: PUT /2015-03-31/functions/{FunctionName}/aliases/{Name} -> 200. Supported.
func (c *call) updateAlias() error {
	var in updateAliasInput
	t, err := c.readAlias(&in)
	if err != nil {
		return err
	}
	if c.s.view.Get(t.key) == nil {
		return fail("ResourceNotFoundException", "Alias not found: %s", t.qualified())
	}
	e, a, err := c.s.Plane.UpdateAlias(c.r.Context(), t.key, t.qualifier, in.RevisionId, in.settings())
	if err != nil {
		return absent(err, t.qualified())
	}
	return c.json(http.StatusOK, aliased(e, t.qualifier, a))
}

// DeleteAlias: DELETE /2015-03-31/functions/{FunctionName}/aliases/{Name} -> 204. Supported: one that is not there is no error.
func (c *call) deleteAlias() error {
	t, err := c.readAlias(nil)
	if err != nil {
		return err
	}
	if err := c.s.Plane.DeleteAlias(c.r.Context(), t.key, t.qualifier); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}

// ListAliases: GET /2015-03-31/functions/{FunctionName}/aliases?FunctionVersion=&Marker=&MaxItems= -> 200. Supported: by name.
func (c *call) listAliases() error {
	version, filtered := c.query("FunctionVersion")
	p, e, err := c.readList("aliases/"+version, func(v *violations) {
		if filtered {
			v.text("functionVersion", &version, 1, 1024, versionRE, versionPattern)
		}
	})
	if err != nil {
		return err
	}
	var out struct {
		Aliases    []aliasConfiguration
		NextMarker string `json:",omitempty"`
	}
	out.Aliases, out.NextMarker = cut(p, aliasesAfter(e, function.Qualifier(p.after), function.VersionNumber(version)),
		func(name function.Qualifier) string { return string(name) },
		func(name function.Qualifier) aliasConfiguration { return aliased(e, name, e.Alias(name)) })
	return c.json(http.StatusOK, out)
}

// aliasesAfter are the names of the aliases with a primary version, or all when that is empty, in their order.
func aliasesAfter(e *function.Entry, after function.Qualifier, primary function.VersionNumber) iter.Seq[function.Qualifier] {
	return func(yield func(function.Qualifier) bool) {
		for _, name := range slices.Sorted(maps.Keys(e.Record.Aliases)) {
			if name > after && (primary == "" || e.Alias(name).Version == primary) && !yield(name) {
				return
			}
		}
	}
}
