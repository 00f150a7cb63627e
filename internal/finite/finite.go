// Package finite knows which numbers of JSON can be worked with in full. Libraries that compare numbers of any size work
// them out: 1e999999 has a million digits, and of a larger exponent math/big makes nothing at all.
package finite

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Bounds of a number: its characters, and its power of ten.
const (
	maxLength   = 400
	maxExponent = 400
)

// Numbers says whether all numbers of a value, as encoding/json gives it with UseNumber, are within the bounds.
func Numbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, exponent, has := strings.Cut(strings.ToLower(v.String()), "e")
		if len(v) > maxLength || !has {
			return len(v) <= maxLength
		}
		n, err := strconv.Atoi(exponent)
		return err == nil && n <= maxExponent && n >= -maxExponent
	case []any:
		for _, one := range v {
			if !Numbers(one) {
				return false
			}
		}
	case map[string]any:
		for _, one := range v {
			if !Numbers(one) {
				return false
			}
		}
	}
	return true
}
