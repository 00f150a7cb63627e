package api_test

import (
	"testing"
)

// What is kept for the customer's tools is given back as it was sent.
func TestConfigurationsThatAreOnlyKept(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.withVersions("orders", 1)
	const management, scaling = "/2021-07-20/functions/orders/runtime-management-config", "/2025-11-30/functions/orders/function-scaling-config"
	w.want(w.do("GET", management, ""), 200, `{"UpdateRuntimeOn":"Auto","FunctionArn":"`+ordersARN+`"}`)
	w.want(w.do("PUT", management+"?Qualifier=1", `{"UpdateRuntimeOn":"Manual","RuntimeVersionArn":"arn:aws:lambda:eu-west-1::runtime:abc"}`), 200,
		`{"UpdateRuntimeOn":"Manual","RuntimeVersionArn":"arn:aws:lambda:eu-west-1::runtime:abc","FunctionArn":"`+ordersARN+`:1"}`)
	w.want(w.do("PUT", management, `{"UpdateRuntimeOn":"Manual"}`), 400, `{"message":"*","Type":"User"}`)
	w.want(w.do("PUT", management, `{"UpdateRuntimeOn":"Never"}`), 400,
		`{"message":"1 validation error detected: Value 'Never' at 'updateRuntimeOn' failed to satisfy constraint: Member must satisfy enum value set: [Auto, Manual, FunctionUpdate]"}`)

	w.want(w.do("GET", scaling+"?Qualifier=1", ""), 200, `{"FunctionArn":"`+ordersARN+`:1"}`)
	w.want(w.do("PUT", scaling+"?Qualifier=$LATEST.PUBLISHED", `{"FunctionScalingConfig":{"MinExecutionEnvironments":1,"MaxExecutionEnvironments":5}}`), 202, `{"FunctionState":"Active"}`)
	w.want(w.do("PUT", scaling, `{}`), 400, `{"message":"1 validation error detected: Value null at 'qualifier' failed to satisfy constraint: Member must not be null"}`)
	w.want(w.do("GET", scaling+"?Qualifier=9", ""), 404, `{"Message":"Function not found: `+ordersARN+`:9","Type":"User"}`)
	w.reopen()
	const kept = `{"MinExecutionEnvironments":1,"MaxExecutionEnvironments":5}`
	w.want(w.do("GET", scaling+"?Qualifier=1", ""), 200, `{"FunctionArn":"`+ordersARN+`:1","AppliedFunctionScalingConfig":`+kept+`,"RequestedFunctionScalingConfig":`+kept+`}`)
	w.want(w.do("GET", management+"?Qualifier=1", ""), 200,
		`{"UpdateRuntimeOn":"Manual","RuntimeVersionArn":"arn:aws:lambda:eu-west-1::runtime:abc","FunctionArn":"`+ordersARN+`:1"}`)
	w.want(w.do("GET", management, ""), 200, `{"UpdateRuntimeOn":"Auto","FunctionArn":"`+ordersARN+`"}`)
}
