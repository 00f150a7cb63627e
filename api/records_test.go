package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
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

// manyTags are n tags as members of an object.
func manyTags(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"k%d":"v"`, i))
	}
	return strings.Join(list, ",")
}

// C-124: code signing configurations with their tags, and functions that have one.
func TestCodeSigningConfigurations(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	w.withVersions("orders", 0)
	const binding = "/2020-06-30/functions/orders/code-signing-config"
	w.want(w.do("GET", binding, ""), 200, `{}`)
	w.want(w.do("DELETE", binding, ""), 204, "")
	profile := "arn:aws:signer:eu-west-1:000000000000:/signing-profiles/p/1"
	made, err := w.client.CreateCodeSigningConfig(ctx, &lambda.CreateCodeSigningConfigInput{Description: aws.String("d"), AllowedPublishers: &types.AllowedPublishers{SigningProfileVersionArns: []string{profile}},
		Tags: map[string]string{"team": "shop", "cost": "low"}})
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.CodeSigningConfig.CodeSigningConfigArn
	path := "/2020-04-22/code-signing-configs/" + url.PathEscape(arn)
	shown := `{"CodeSigningConfig":{"CodeSigningConfigId":"` + *made.CodeSigningConfig.CodeSigningConfigId + `","CodeSigningConfigArn":"` + arn +
		`","Description":"d","AllowedPublishers":{"SigningProfileVersionArns":["` + profile + `"]},"CodeSigningPolicies":{"UntrustedArtifactOnDeployment":"%s"},"LastModified":"*"}}`
	w.want(w.do("GET", path, ""), 200, fmt.Sprintf(shown, "Warn"))
	w.want(w.do("PUT", path, `{"CodeSigningPolicies":{"UntrustedArtifactOnDeployment":"Enforce"}}`), 200, fmt.Sprintf(shown, "Enforce"))
	w.want(w.do("PUT", binding, `{"CodeSigningConfigArn":"`+arn+`"}`), 200, `{"CodeSigningConfigArn":"`+arn+`","FunctionName":"orders"}`)
	tags := "/2017-03-31/tags/" + url.PathEscape(arn)
	w.want(w.do("GET", tags, ""), 200, `{"Tags":{"cost":"low","team":"shop"}}`)
	w.want(w.do("POST", tags, `{"Tags":{"cost":"high","more":""}}`), 204, "")
	w.want(w.do("DELETE", tags+"?tagKeys=team&tagKeys=none", ""), 204, "")
	w.want(w.do("POST", tags, `{"Tags":{}}`), 400, `{"Type":"User","message":"An error occurred and the request cannot be processed."}`)
	w.want(w.do("POST", tags, `{"Tags":{`+manyTags(50)+`}}`), 400, `{"Type":"User","message":"Number of tags exceeds resource tag limit."}`)
	w.reopen()
	w.want(w.do("GET", tags, ""), 200, `{"Tags":{"cost":"high","more":""}}`)
	w.want(w.do("GET", binding, ""), 200, `{"CodeSigningConfigArn":"`+arn+`","FunctionName":"orders"}`)
	w.want(w.do("GET", path+"/functions", ""), 200, `{"FunctionArns":["`+ordersARN+`"]}`)
	w.want(w.do("GET", "/2020-04-22/code-signing-configs", ""), 200, `{"CodeSigningConfigs":["*"]}`)
	w.want(w.do("DELETE", path, ""), 409, `{"message":"*","Type":"User"}`)
	w.want(w.do("DELETE", binding, ""), 204, "")
	w.want(w.do("DELETE", path, ""), 204, "")
	w.want(w.do("GET", tags, ""), 404, `{"Message":"*","Type":"User"}`)
	w.want(w.do("GET", path, ""), 404, `{"Message":"The Lambda code signing configuration `+arn+` can not be found.","Type":"User"}`)
	w.want(w.do("PUT", binding, `{"CodeSigningConfigArn":"`+arn+`"}`), 404,
		`{"Message":"The code signing configuration cannot be found. Check that the provided configuration is not deleted: `+arn+`.","Type":"User"}`)
}
