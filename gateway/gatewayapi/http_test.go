package gatewayapi

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"thaw/gateway"
)

// Quick create makes an API of one route that is served at once, and each change of it is deployed.
func TestQuickCreate(t *testing.T) {
	w := newWorld(t)
	made, err := w.http.CreateApi(t.Context(), &apigatewayv2.CreateApiInput{Name: ptr("shop"), ProtocolType: types.ProtocolTypeHttp, Target: ptr(function),
		CorsConfiguration: &types.Cors{AllowOrigins: []string{"*"}}, Tags: map[string]string{"team": "shop"}})
	w.must(err)
	id := *made.ApiId
	if *made.ApiEndpoint != "http://"+id+".execute-api.eu-west-1.localhost" || *made.RouteSelectionExpression != "$request.method $request.path" || made.Tags["team"] != "shop" {
		t.Errorf("%+v", made)
	}
	a := w.records.APIs.Get(id)
	st := a.Stages["$default"]
	d := a.Deployments[st.Deployment]
	if d == nil || len(d.Definition.Routes) != 1 || !st.Auto || !st.Managed || d.Definition.CORS == nil {
		t.Fatalf("stage %+v, deployment %+v", st, d)
	}
	for _, r := range d.Definition.Routes {
		if i := d.Definition.Integrations[r.Integration]; r.Key != "$default" || i.Type != "AWS_PROXY" || i.PayloadVersion != "2.0" || i.URI != function || i.Timeout != 30000 {
			t.Errorf("%+v -> %+v", r, i)
		}
	}
	_, err = w.http.UpdateApi(t.Context(), &apigatewayv2.UpdateApiInput{ApiId: &id, RouteKey: ptr("GET /orders/{id}"), Target: ptr("https://example.org/")})
	w.must(err)
	now := w.records.APIs.Get(id)
	if len(now.Deployments) != 1 || now.Deployments[st.Deployment] != nil {
		t.Errorf("after a change there are %d deployments, and the old one is %v", len(now.Deployments), now.Deployments[st.Deployment])
	}
	for _, r := range now.Deployments[now.Stages["$default"].Deployment].Definition.Routes {
		if i := now.Draft.Integrations[r.Integration]; r.Key != "GET /orders/{id}" || i.Type != "HTTP_PROXY" || i.Method != "ANY" {
			t.Errorf("%+v -> %+v", r, i)
		}
	}
	_, err = w.http.UpdateApi(t.Context(), &apigatewayv2.UpdateApiInput{ApiId: &id, CorsConfiguration: &types.Cors{AllowMethods: []string{"GET"}}})
	w.must(err)
	if o := w.records.APIs.Get(id).Draft.CORS; len(o.Origins) != 0 || len(o.Methods) != 1 {
		t.Errorf("CORS is replaced as a whole, and is %+v", o)
	}
	_, err = w.http.DeleteCorsConfiguration(t.Context(), &apigatewayv2.DeleteCorsConfigurationInput{ApiId: &id})
	w.must(err)
	got, err := w.http.GetApi(t.Context(), &apigatewayv2.GetApiInput{ApiId: &id})
	w.must(err)
	if got.CorsConfiguration != nil || a.Draft.CORS == nil {
		t.Error("the configuration of CORS is still there, or was taken from a record that others have")
	}
	_, err = w.http.DeleteApi(t.Context(), &apigatewayv2.DeleteApiInput{ApiId: &id})
	w.must(err)
	if _, err = w.http.GetApi(t.Context(), &apigatewayv2.GetApiInput{ApiId: &id}); code(err) != "NotFoundException" {
		t.Error(err)
	}
}

// An API by hand: routes, integrations, a deployment that later changes do not touch, and a stage that has each of them.
func TestByHand(t *testing.T) {
	w := newWorld(t)
	id := w.done("POST", "/v2/apis", `{"name":"shop","protocolType":"HTTP"}`, "apiId")
	at := "/v2/apis/" + id
	integration := w.done("POST", at+"/integrations", `{"integrationType":"AWS_PROXY","integrationUri":"`+proxied+`","payloadFormatVersion":"2.0",
		"requestParameters":{"overwrite:header.x":"a","append:header.y":"b"},"responseParameters":{"500":{"overwrite:statuscode":"403"}}}`, "integrationId")
	w.refused("POST", at+"/deployments", `{}`, "BadRequestException", "At least one route is required")
	route := w.done("POST", at+"/routes", `{"routeKey":"GET /orders/{id}","target":"integrations/`+integration+`"}`, "routeId")
	deployment := w.done("POST", at+"/deployments", `{"description":"first"}`, "deploymentId")
	w.done("POST", at+"/stages", `{"stageName":"prod","deploymentId":"`+deployment+`","stageVariables":{"a":"1","b":"2"},
		"defaultRouteSettings":{"throttlingBurstLimit":5,"throttlingRateLimit":2.5},"routeSettings":{"GET /orders/{id}":{"detailedMetricsEnabled":true}}}`, "")
	w.done("POST", at+"/stages", `{"stageName":"dev","autoDeploy":true}`, "")
	w.done("POST", at+"/routes", `{"routeKey":"$default","target":"integrations/`+integration+`"}`, "")
	w.done("PATCH", at+"/integrations/"+integration, `{"requestParameters":{"append:header.y":""},"responseParameters":{"500":{}},"timeoutInMillis":5000}`, "")

	a := w.records.APIs.Get(id)
	prod, dev := a.Deployments[a.Stages["prod"].Deployment], a.Deployments[a.Stages["dev"].Deployment]
	if len(prod.Definition.Routes) != 1 || len(dev.Definition.Routes) != 2 || len(a.Deployments) != 2 {
		t.Errorf("prod has %d routes, dev %d; %d deployments", len(prod.Definition.Routes), len(dev.Definition.Routes), len(a.Deployments))
	}
	if i := dev.Definition.Integrations[integration]; len(i.Parameters) != 1 || i.Timeout != 5000 || len(i.Responses) != 0 || len(prod.Definition.Integrations[integration].Parameters) != 2 {
		t.Errorf("%+v, %+v", i, prod.Definition.Integrations[integration])
	}
	if th := a.Stages["prod"].Throttles[""]; th != (gateway.Throttle{Rate: 2.5, Burst: 5}) {
		t.Errorf("%+v", th)
	}
	w.done("PATCH", at+"/stages/prod", `{"stageVariables":{"a":"","c":"3"},"description":"now"}`, "")
	if got := w.records.APIs.Get(id).Stages["prod"]; len(got.Variables) != 2 || got.Variables["c"] != "3" || got.Throttles[""].Burst != 5 {
		t.Errorf("%+v", got)
	}
	w.done("DELETE", at+"/stages/prod/routesettings/GET%20%2Forders%2F%7Bid%7D", "", "")

	authorizer := w.done("POST", at+"/authorizers", `{"name":"a","authorizerType":"REQUEST","identitySource":["$request.header.a"],"authorizerUri":"`+proxied+`",
		"authorizerPayloadFormatVersion":"2.0","enableSimpleResponses":true,"authorizerResultTtlInSeconds":60}`, "authorizerId")
	w.done("PATCH", at+"/authorizers/"+authorizer, `{"name":"b"}`, "")
	w.done("PATCH", at+"/routes/"+route, `{"authorizationType":"CUSTOM","authorizerId":"`+authorizer+`"}`, "")
	w.done("PATCH", at+"/routes/"+route, `{"authorizationType":"NONE"}`, "")
	if r := w.records.APIs.Get(id).Draft.Routes[route]; r.Authorizer != "" || r.Integration != integration {
		t.Errorf("%+v", r)
	}
	w.done("PATCH", at+"/stages/prod", `{"defaultRouteSettings":{"detailedMetricsEnabled":true}}`, "")
	if st := w.records.APIs.Get(id).Stages["prod"]; len(st.Throttles) != 0 || !st.Logs[""].DetailedMetrics || len(st.Variables) != 2 {
		t.Errorf("a stage's settings are replaced as a whole: %+v", st)
	}
	if z := w.records.APIs.Get(id).Draft.Authorizers[authorizer]; z.TTL != 60 || !z.Simple || z.Name != "b" {
		t.Errorf("%+v", z)
	}

	w.refused("DELETE", at+"/integrations/"+integration, "", "ConflictException", "is used by route")
	w.refused("DELETE", at+"/deployments/"+deployment, "", "BadRequestException", "Active stages pointing to this deployment")
	w.refused("PATCH", at+"/stages/dev", `{"deploymentId":"`+deployment+`"}`, "BadRequestException", "autoDeploy")
	w.refused("GET", at+"/stages/none", "", "NotFoundException", "Invalid stage identifier specified")
	w.done("DELETE", at+"/routes/"+route, "", "")
	w.refused("DELETE", at+"/routes/"+route, "", "NotFoundException", "Invalid Route identifier specified "+route)
}

// What clients list comes in pages that a change between two does not break.
func TestPages(t *testing.T) {
	w := newWorld(t)
	var made []string
	for range 5 {
		made = append(made, w.done("POST", "/v2/apis", `{"name":"shop","protocolType":"WEBSOCKET","routeSelectionExpression":"$request.body.action"}`, "apiId"))
	}
	slices.Sort(made)
	var got []string
	var next *string
	for pages := 0; pages == 0 || next != nil; pages++ {
		out, err := w.http.GetApis(t.Context(), &apigatewayv2.GetApisInput{MaxResults: ptr("2"), NextToken: next})
		w.must(err)
		for _, a := range out.Items {
			got = append(got, *a.ApiId)
		}
		if next = out.NextToken; pages == 0 {
			w.done("DELETE", "/v2/apis/"+made[1], "", "") // the one that the page ended with
		}
	}
	if !slices.Equal(got, made) {
		t.Errorf("%q, want %q", got, made)
	}
	w.refused("GET", "/v2/apis?maxResults=none", "", "BadRequestException", "maxResults")
	w.refused("GET", "/v2/apis?nextToken=%25", "", "BadRequestException", "position")
}

// What is wrong with a request is said, with the service's code.
func TestRefusedOfHTTP(t *testing.T) {
	w := newWorld(t)
	id := w.done("POST", "/v2/apis", `{"name":"shop","protocolType":"HTTP"}`, "apiId")
	at := "/v2/apis/" + id
	for _, c := range []struct{ method, path, body, code, words string }{
		{"POST", "/v2/apis", `{"name":"shop"}`, "BadRequestException", "Invalid protocol specified"},
		{"POST", "/v2/apis", `{"protocolType":"HTTP"}`, "BadRequestException", "Invalid name"},
		{"POST", "/v2/apis", `{"name":1}`, "SerializationException", "name"},
		{"POST", "/v2/apis", `{`, "SerializationException", "no JSON"},
		{"POST", "/v2/apis", `{"name":"s","protocolType":"HTTP","corsConfiguration":{"allowOrigins":["*"],"allowCredentials":true}}`, "BadRequestException", "exclude each other"},
		{"POST", "/v2/apis", `{"name":"s","protocolType":"WEBSOCKET"}`, "BadRequestException", "Route selection expression is required"},
		{"POST", "/v2/apis", `{"name":"s","protocolType":"HTTP","target":"worker"}`, "BadRequestException", "URI"},
		{"GET", "/v2/apis/none", "", "NotFoundException", "Invalid API identifier specified none"},
		{"POST", at + "/routes", `{"routeKey":"orders"}`, "BadRequestException", "not formatted properly"},
		{"POST", at + "/routes", `{"routeKey":"GET /{a+}/b"}`, "BadRequestException", "last part"},
		{"POST", at + "/routes", `{"routeKey":"GET /{a}/{a}"}`, "BadRequestException", "twice"},
		{"POST", at + "/routes", `{"routeKey":"GET /a","target":"integrations/none"}`, "NotFoundException", "Invalid Integration identifier"},
		{"POST", at + "/routes", `{"routeKey":"GET /a","authorizationType":"JWT"}`, "BadRequestException", "Authorizer is required"},
		{"POST", at + "/integrations", `{"integrationType":"AWS"}`, "BadRequestException", "Invalid integration type"},
		{"POST", at + "/integrations", `{"integrationType":"AWS_PROXY","integrationSubtype":"SQS-SendMessage"}`, "BadRequestException", "call them in a function"},
		{"POST", at + "/integrations", `{"integrationType":"HTTP_PROXY","connectionType":"VPC_LINK"}`, "BadRequestException", "VPC links"},
		{"POST", at + "/integrations", `{"integrationType":"AWS_PROXY","integrationUri":"` + function + `","timeoutInMillis":31000}`, "BadRequestException", "Timeout"},
		{"POST", at + "/authorizers", `{"name":"a","authorizerType":"JWT","identitySource":["$request.header.Authorization"]}`, "BadRequestException", "issuer"},
		{"POST", at + "/authorizers", `{"name":"a","authorizerType":"REQUEST","authorizerUri":"` + proxied + `"}`, "BadRequestException", "AuthorizerPayloadFormatVersion"},
		{"POST", at + "/stages", `{"stageName":"a b"}`, "BadRequestException", "Stage name"},
		{"POST", at + "/stages", `{"stageName":"a","routeSettings":{"GET /none":{}}}`, "NotFoundException", "Unable to find Route"},
		{"POST", at + "/models", `{"name":"a","schema":"{}"}`, "BadRequestException", "WebSocket"},
		{"GET", "/v2/vpclinks", "", "NotImplementedException", "VPC links are not there"},
		{"GET", "/v2/nothing", "", "UnknownOperationException", "GET /v2/nothing"},
	} {
		w.refused(c.method, c.path, c.body, c.code, c.words)
	}
}

// A domain serves stages below its paths, for as long as they are there; tags are of all that has an ARN.
func TestDomainsAndTags(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	id := w.done("POST", "/v2/apis", `{"name":"shop","protocolType":"HTTP","target":"`+function+`"}`, "apiId")
	d, err := w.http.CreateDomainName(ctx, &apigatewayv2.CreateDomainNameInput{DomainName: ptr("Shop.example.org"), Tags: map[string]string{"a": "1"}})
	w.must(err)
	if *d.DomainName != "shop.example.org" || len(d.DomainNameConfigurations) != 1 || d.DomainNameConfigurations[0].DomainNameStatus != types.DomainNameStatusAvailable {
		t.Errorf("%+v", d)
	}
	if _, err = w.http.CreateDomainName(ctx, &apigatewayv2.CreateDomainNameInput{DomainName: ptr("shop.example.org")}); code(err) != "ConflictException" {
		t.Error(err)
	}
	m, err := w.http.CreateApiMapping(ctx, &apigatewayv2.CreateApiMappingInput{DomainName: ptr("shop.example.org"), ApiId: &id, Stage: ptr("$default"), ApiMappingKey: ptr("v1/orders")})
	w.must(err)
	if got := w.records.Shared.Get("domain/shop.example.org").Domain.Mappings[*m.ApiMappingId]; got.API != id || got.Path != "v1/orders" || got.Stage != "$default" {
		t.Errorf("%+v", got)
	}
	if _, err = w.http.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: &id}); code(err) != "BadRequestException" {
		t.Error(err)
	}
	for _, arn := range []string{"arn:aws:apigateway:eu-west-1::/apis/" + id, "arn:aws:apigateway:eu-west-1::/apis/" + id + "/stages/$default", "arn:aws:apigateway:eu-west-1::/domainnames/shop.example.org"} {
		_, err = w.http.TagResource(ctx, &apigatewayv2.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"b": "2", "c": "3"}})
		w.must(err)
		_, err = w.http.UntagResource(ctx, &apigatewayv2.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"c"}})
		w.must(err)
		got, err := w.http.GetTags(ctx, &apigatewayv2.GetTagsInput{ResourceArn: &arn})
		w.must(err)
		if got.Tags["b"] != "2" || got.Tags["c"] != "" {
			t.Errorf("%s has %v", arn, got.Tags)
		}
	}
	_, err = w.http.DeleteApiMapping(ctx, &apigatewayv2.DeleteApiMappingInput{DomainName: ptr("shop.example.org"), ApiMappingId: m.ApiMappingId})
	w.must(err)
	_, err = w.http.DeleteDomainName(ctx, &apigatewayv2.DeleteDomainNameInput{DomainName: ptr("shop.example.org")})
	w.must(err)
	_, err = w.http.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: &id})
	w.must(err)
}
