package node

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// knob is one field of a Config, with its tags.
type knob struct {
	field reflect.StructField
	value reflect.Value
}

// knobs are the fields of c that can be set, in order.
func knobs(c *Config) []knob {
	v := reflect.ValueOf(c).Elem()
	var ks []knob
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("knob") != "" {
			ks = append(ks, knob{f, v.Field(i)})
		}
	}
	return ks
}

func known(name string) bool {
	for _, k := range knobs(new(Config)) {
		if k.name() == name {
			return true
		}
	}
	return false
}

func (k knob) name() string { return k.field.Tag.Get("knob") }

// variable is the knob's environment variable: THAW_DATA_DIR for data-dir.
func (k knob) variable() string {
	return "THAW_" + strings.ToUpper(strings.ReplaceAll(k.name(), "-", "_"))
}

// def is the default as text; the data folder's depends on who runs the server.
func (k knob) def() string {
	if k.name() == "data-dir" {
		return DefaultDataDir()
	}
	return k.field.Tag.Get("default")
}

// set gives the field the value that text stands for, or says why it cannot.
func (k knob) set(text string) error {
	switch k.value.Interface().(type) {
	case string:
		k.value.SetString(text)
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		k.value.SetBool(b)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		k.value.SetInt(int64(n))
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 90s or 10m", text)
		}
		k.value.SetInt(int64(d))
	default:
		return errors.New("a field type that set does not know") // a programmer's mistake: Default panics on it
	}
	return nil
}

// check holds the value against the tags one and min.
func (k knob) check() error {
	if one := k.field.Tag.Get("one"); one != "" {
		for _, w := range strings.Split(one, ",") {
			if k.String() == w {
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", k, strings.ReplaceAll(one, ",", ", "))
	}
	if lowest := k.field.Tag.Get("min"); lowest != "" {
		least := knob{k.field, reflect.New(k.field.Type).Elem()}
		if err := least.set(lowest); err != nil {
			return err
		}
		if k.value.Int() < least.value.Int() {
			return fmt.Errorf("%s is less than %s", k, least)
		}
	}
	return nil
}

func (k knob) String() string { return fmt.Sprint(k.value.Interface()) }
