package finite

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	for text, want := range map[string]bool{
		`[1e10000000]`: false, `[1e-999999]`: false, `[1E+401]`: false, `[{"a":[-1e401]}]`: false, `[` + strings.Repeat("9", 1000) + `]`: false, `1e99999999999999999999`: false,
		`[1e300,-7.25,1E-400,` + strings.Repeat("9", 300) + `]`: true, `["1e10000000",null,true]`: true, `{}`: true,
	} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if Numbers(v) != want {
			t.Errorf("%.40s: %v", text, !want)
		}
	}
}
