package eventbridge

import (
	"reflect"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
)

// reflectMethods are the operations that AWS's client knows.
func reflectMethods() (names []string) {
	c := reflect.TypeFor[*sdk.Client]()
	for i := range c.NumMethod() {
		if name := c.Method(i).Name; name != "Options" {
			names = append(names, name)
		}
	}
	return names
}
