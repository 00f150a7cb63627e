package gatewayapi

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// patchOperation is one step of an update of apigateway. Source: RFC 6902, with values that are all texts, and lists whose
// members are named by their values (API Reference, "PatchOperation").
type patchOperation struct {
	Op    string  `json:"op"`
	Path  string  `json:"path"`
	Value *string `json:"value"`
	From  string  `json:"from"`
}

func (o *patchOperation) value() string {
	if o.Value == nil {
		return ""
	}
	return *o.Value
}

// patches are those of a request.
func (c *call) patches() ([]patchOperation, error) {
	var in struct {
		PatchOperations []patchOperation `json:"patchOperations"`
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	for _, o := range in.PatchOperations {
		if !known(o.Op, "add|remove|replace|move|copy|test") {
			return nil, badRequest("Invalid patch operation: %s is none of [add, remove, replace, move, copy, test]", o.Op)
		}
		if !known(o.Op, "add|remove|replace") {
			return nil, badRequest("Invalid patch operation specified. Must be one of: [add, remove, replace]")
		}
	}
	return in.PatchOperations, nil
}

// patch applies a request's operations to a view, a pointer to a structure, as far as its members are named in may.
// Another takes those that are not of the view's form; it says whether it did.
func (c *call) patch(view any, may string, other func(o *patchOperation, path []string) (bool, error)) error {
	all, err := c.patches()
	if err != nil {
		return err
	}
	for i := range all {
		o := &all[i]
		path := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
		for i, p := range path {
			path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		}
		if other != nil {
			if is, err := other(o, path); err != nil {
				return err
			} else if is {
				continue
			}
		}
		if !known(path[0], may) || !strings.HasPrefix(o.Path, "/") {
			return badRequest("Invalid patch path  '%s' specified for op '%s'. Must be one of: [/%s]", o.Path, o.Op, strings.ReplaceAll(may, "|", ", /"))
		}
		if !step(reflect.ValueOf(view).Elem(), path, o) {
			return badRequest("Invalid patch path '%s' specified for op '%s', or its value '%s' does not belong there", o.Path, o.Op, o.value())
		}
	}
	return nil
}

// step applies an operation below a value that can be set; false: it does not fit there.
func step(v reflect.Value, path []string, o *patchOperation) bool {
	if v.Kind() == reflect.Pointer {
		if len(path) == 0 && (o.Op == "remove" || o.value() == "") { // an empty value is none
			v.SetZero()
			return true
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return step(v.Elem(), path, o)
	}
	if len(path) == 0 {
		return setTo(v, o)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name == path[0] {
				return step(v.Field(i), path[1:], o)
			}
		}
	case reflect.Map:
		return stepMap(v, path, o)
	case reflect.Slice:
		return v.Type().Elem().Kind() == reflect.String && len(path) == 1 && stepList(v, path[0], o)
	}
	return false
}

func stepMap(v reflect.Value, path []string, o *patchOperation) bool {
	key := reflect.ValueOf(path[0])
	if len(path) == 1 && o.Op == "remove" {
		v.SetMapIndex(key, reflect.Value{})
		return true
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	member := reflect.New(v.Type().Elem()).Elem()
	if old := v.MapIndex(key); old.IsValid() {
		member.Set(old)
	}
	if !step(member, path[1:], o) {
		return false
	}
	v.SetMapIndex(key, member)
	return true
}

// stepList adds, removes or replaces a member by its value or its number.
func stepList(v reflect.Value, name string, o *patchOperation) bool {
	list, _ := v.Interface().([]string)
	i := slices.Index(list, name)
	if n, err := strconv.Atoi(name); err == nil && i < 0 && n < len(list) {
		i = n
	}
	switch {
	case o.Op == "add" && i < 0:
		list = append(slices.Clone(list), name)
	case o.Op == "remove" && i >= 0:
		list = slices.Delete(slices.Clone(list), i, i+1)
	case o.Op == "replace" && i >= 0:
		list = slices.Clone(list)
		list[i] = o.value()
	case o.Op == "replace":
		list = []string{o.value()}
	}
	v.Set(reflect.ValueOf(list))
	return true
}

// setTo sets a value to an operation's text.
func setTo(v reflect.Value, o *patchOperation) bool {
	if o.Op == "remove" {
		if v.Kind() == reflect.Slice && o.value() != "" { // the member of that value
			return stepList(v, o.value(), o)
		}
		v.SetZero()
		return true
	}
	text := o.value()
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return false
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return false
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return false
		}
		v.SetFloat(f)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return false
		}
		if o.Op == "add" {
			return stepList(v, text, o)
		}
		v.Set(reflect.ValueOf(strings.Split(text, ",")))
	default:
		return false
	}
	return true
}

// stepInto applies an operation to a member of a structure.
func stepInto(view any, member string, o *patchOperation) bool {
	return step(reflect.ValueOf(view).Elem(), []string{member}, o)
}
