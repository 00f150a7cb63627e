package gatewayapi

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"

	"thaw/gateway"
)

// madeREST is a REST API with GET /orders/{id} in front of a function, not yet deployed.
type madeREST struct {
	id, at, orders, order, method string
}

func (w *world) shop() madeREST {
	w.Helper()
	var s madeREST
	s.id = w.done("POST", "/restapis", `{"name":"shop"}`, "id")
	s.at = "/restapis/" + s.id
	root := w.done("GET", s.at, "", "rootResourceId")
	s.orders = w.done("POST", s.at+"/resources/"+root, `{"pathPart":"orders"}`, "id")
	s.order = w.done("POST", s.at+"/resources/"+s.orders, `{"pathPart":"{id}"}`, "id")
	s.method = s.at + "/resources/" + s.order + "/methods/GET"
	w.done("PUT", s.method, `{"authorizationType":"NONE","requestParameters":{"method.request.header.x":true},"requestModels":{"application/json":"Empty"}}`, "")
	w.done("PUT", s.method+"/responses/200", `{"responseModels":{"application/json":"Empty"}}`, "")
	w.done("PUT", s.method+"/integration", `{"type":"AWS","httpMethod":"POST","uri":"`+proxied+`","requestTemplates":{"application/json":"{}"}}`, "")
	w.done("PUT", s.method+"/integration/responses/200", `{"selectionPattern":"","responseTemplates":{"application/json":""}}`, "")
	return s
}

func patching(operations ...string) string {
	type op struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var in struct {
		PatchOperations []op `json:"patchOperations"`
	}
	for _, o := range operations {
		p := strings.SplitN(o, " ", 3)
		in.PatchOperations = append(in.PatchOperations, op{p[0], p[1], strings.Join(p[2:], "")})
	}
	b, _ := json.Marshal(in)
	return string(b)
}

// A REST API by hand is a tree of resources with methods; what is deployed does not change when they do.
func TestRESTByHand(t *testing.T) {
	w := newWorld(t)
	s := w.shop()
	deployment := w.done("POST", s.at+"/deployments", `{"stageName":"prod","variables":{"a":"1"}}`, "id")
	w.done("PATCH", s.at+"/resources/"+s.orders, patching("replace /pathPart items"), "")
	a := w.records.APIs.Get(s.id)
	served := a.Deployments[a.Stages["prod"].Deployment].Definition
	id := s.order + "/GET"
	if served.Routes[id].Key != "GET /orders/{id}" || a.Draft.Routes[id].Key != "GET /items/{id}" || a.Draft.Resources[s.order].Path != "/items/{id}" || a.Stages["prod"].Variables["a"] != "1" {
		t.Errorf("served %+v, draft %+v", served.Routes[id], a.Draft.Routes[id])
	}
	if r := served.Routes[id]; r.Integration != id || !r.RequestParameters["method.request.header.x"] || r.RequestModels["application/json"] != "Empty" || r.Responses["200"] == nil {
		t.Errorf("%+v", r)
	}
	if i := served.Integrations[id]; i.Timeout != 29000 || i.Passthrough != "WHEN_NO_MATCH" || i.CacheNamespace != s.order || i.Responses["200"] == nil {
		t.Errorf("%+v", i)
	}
	out, err := w.rest.GetResources(t.Context(), &apigateway.GetResourcesInput{RestApiId: &s.id, Embed: []string{"methods"}})
	w.must(err)
	if len(out.Items) != 3 {
		t.Errorf("%d resources", len(out.Items))
	}
	for _, r := range out.Items {
		if m, is := r.ResourceMethods["GET"]; is != (*r.Id == s.order) || is && (m.MethodIntegration == nil || *m.MethodIntegration.Uri != proxied) {
			t.Errorf("%s: %+v", *r.Path, m)
		}
	}
	d, err := w.rest.GetDeployment(t.Context(), &apigateway.GetDeploymentInput{RestApiId: &s.id, DeploymentId: &deployment, Embed: []string{"apisummary"}})
	w.must(err)
	if got := d.ApiSummary["/orders/{id}"]["GET"]; got.AuthorizationType == nil || *got.AuthorizationType != "NONE" {
		t.Errorf("%+v", d.ApiSummary)
	}
	w.refused("DELETE", s.at+"/deployments/"+deployment, "", "BadRequestException", "Active stages pointing to this deployment")
	w.done("DELETE", s.at+"/resources/"+s.orders, "", "")
	if a := w.records.APIs.Get(s.id); len(a.Draft.Resources) != 1 || len(a.Draft.Routes) != 0 || len(a.Draft.Integrations) != 0 {
		t.Errorf("below what was deleted there is still %+v", a.Draft)
	}
	w.refused("POST", s.at+"/deployments", "{}", "BadRequestException", "doesn't contain any methods")
	_, err = w.rest.DeleteRestApi(t.Context(), &apigateway.DeleteRestApiInput{RestApiId: &s.id})
	w.must(err)
	w.refused("GET", s.at, "", "NotFoundException", "Invalid API identifier specified 000000000000:"+s.id)
}

// Patches change what they name, in the type that it has, and nothing else.
func TestPatches(t *testing.T) {
	w := newWorld(t)
	s := w.shop()
	w.done("POST", s.at+"/deployments", `{"stageName":"prod"}`, "")
	authorizer := w.done("POST", s.at+"/authorizers", `{"name":"a","type":"TOKEN","authorizerUri":"`+proxied+`","identitySource":"method.request.header.Authorization"}`, "id")
	validator := w.done("POST", s.at+"/requestvalidators", `{"name":"v","validateRequestBody":true}`, "id")
	for _, p := range []struct{ path, body string }{
		{s.at, patching("replace /name store", "add /binaryMediaTypes/image~1png", "replace /minimumCompressionSize 10", "replace /endpointConfiguration/types/EDGE REGIONAL",
			"replace /disableExecuteApiEndpoint true", `replace /policy {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"}]}`)},
		{s.method, patching("replace /authorizationType CUSTOM", "replace /authorizerId "+authorizer, "replace /apiKeyRequired true", "add /requestParameters/method.request.querystring.q false",
			"replace /requestValidatorId "+validator, "remove /requestParameters/method.request.header.x", "add /requestModels/text~1plain Error")},
		{s.method + "/integration", patching("replace /timeoutInMillis 5000", "add /requestTemplates/text~1plain $input.body", "add /cacheKeyParameters/method.request.path.id")},
		{s.method + "/integration/responses/200", patching("replace /selectionPattern .*bad.*", "add /responseParameters/method.response.header.x 'a'")},
		{s.method + "/responses/200", patching("add /responseParameters/method.response.header.x true")},
		{s.at + "/stages/prod", patching("replace /variables/b 2", "replace /*/*/throttling/rateLimit 7.5", "replace /*/*/throttling/burstLimit 3", "replace /~1orders~1{id}/GET/logging/loglevel INFO",
			"replace /accessLogSettings/destinationArn arn:aws:logs:eu-west-1:000000000000:log-group:shop", "replace /accessLogSettings/format $context.requestId", "replace /tracingEnabled true")},
		{s.at + "/authorizers/" + authorizer, patching("replace /authorizerResultTtlInSeconds 0", "replace /identityValidationExpression ^a$")},
		{s.at + "/requestvalidators/" + validator, patching("replace /validateRequestParameters true")},
		{s.at + "/gatewayresponses/DEFAULT_4XX", patching("add /responseParameters/gatewayresponse.header.Access-Control-Allow-Origin '*'")},
		{"/account", patching("replace /cloudwatchRoleArn arn:aws:iam::000000000000:role/logs")},
	} {
		w.done("PATCH", p.path, p.body, "")
	}
	a := w.records.APIs.Get(s.id)
	r, i, st := a.Draft.Routes[s.order+"/GET"], a.Draft.Integrations[s.order+"/GET"], a.Stages["prod"]
	if a.Name != "store" || a.Draft.BinaryTypes[0] != "image/png" || *a.MinCompression != 10 || a.EndpointTypes[0] != "REGIONAL" || !a.Disabled || !strings.Contains(a.Policy, `"arn:aws:execute-api:eu-west-1:000000000000:`+s.id+`/*"`) {
		t.Errorf("%+v", a)
	}
	if _, still := r.RequestParameters["method.request.header.x"]; still || r.Authorization != "CUSTOM" || r.Authorizer != authorizer || !r.NeedsKey || r.Validator != validator || r.RequestModels["text/plain"] != "Error" ||
		r.Responses["200"].Parameters["method.response.header.x"] != true {
		t.Errorf("%+v", r)
	}
	if i.Timeout != 5000 || i.Templates["text/plain"] != "$input.body" || i.CacheKeys[0] != "method.request.path.id" || i.Responses["200"].Pattern != ".*bad.*" || i.Responses["200"].Parameters["method.response.header.x"] != "'a'" {
		t.Errorf("%+v", i)
	}
	if st.Throttles[""] != (gateway.Throttle{Rate: 7.5, Burst: 3}) || st.Logs["GET /orders/{id}"].Level != "INFO" || st.Variables["b"] != "2" || st.AccessLog.Format != "$context.requestId" || !st.Tracing {
		t.Errorf("%+v", st)
	}
	if z := a.Draft.Authorizers[authorizer]; z.TTL != 0 || z.Pattern != "^a$" || z.Sources[0] != "method.request.header.Authorization" {
		t.Errorf("%+v", z)
	}
	if v, z := a.Draft.Validators[validator], a.Draft.Answers["DEFAULT_4XX"]; !v.Body || !v.Parameters || z.Parameters["gatewayresponse.header.Access-Control-Allow-Origin"] != "'*'" {
		t.Errorf("%+v %+v", v, z)
	}
	if got := w.done("GET", "/account", "", "cloudwatchRoleArn"); got != "arn:aws:iam::000000000000:role/logs" {
		t.Error(got)
	}
	w.done("PATCH", s.at+"/stages/prod", patching("remove /*/*", "remove /variables/b"), "")
	if st := w.records.APIs.Get(s.id).Stages["prod"]; len(st.Throttles) != 0 || len(st.Variables) != 0 || len(st.Logs) != 1 {
		t.Errorf("%+v", st)
	}
	w.done("PATCH", s.at, patching("replace /minimumCompressionSize "), "") // as Chalice says that there is to be none
	if a := w.records.APIs.Get(s.id); a.MinCompression != nil {
		t.Errorf("%d", *a.MinCompression)
	}
	for _, c := range []struct{ path, body, words string }{
		{s.at, patching("replace /nothing a"), "Invalid patch path"},
		{s.at, patching("replace /minimumCompressionSize many"), "does not belong there"},
		{s.at, patching("swap /name a"), "Invalid patch operation"},
		{s.at + "/stages/prod", patching("replace /cacheClusterEnabled true"), "Cache clusters are not there"},
		{s.at + "/stages/prod", patching("replace /canarySettings/percentTraffic 10"), "Canaries are not there"},
		{s.at + "/stages/prod", patching("replace /*/*/throttling/rateLimit fast"), "does not belong there"},
	} {
		w.refused("PATCH", c.path, c.body, "BadRequestException", c.words)
	}
}

// Keys are in plans, plans are for stages, and neither goes while the other needs it.
func TestKeysAndPlans(t *testing.T) {
	w := newWorld(t)
	ctx, s := t.Context(), w.shop()
	w.done("POST", s.at+"/deployments", `{"stageName":"prod"}`, "")
	key, err := w.rest.CreateApiKey(ctx, &apigateway.CreateApiKeyInput{Name: ptr("shop"), Enabled: true, Value: ptr("01234567890123456789")})
	w.must(err)
	plan, err := w.rest.CreateUsagePlan(ctx, &apigateway.CreateUsagePlanInput{Name: ptr("gold"), ApiStages: []types.ApiStage{{ApiId: &s.id, Stage: ptr("prod")}},
		Throttle: &types.ThrottleSettings{BurstLimit: 5, RateLimit: 10}, Quota: &types.QuotaSettings{Limit: 100, Period: types.QuotaPeriodTypeDay}})
	w.must(err)
	_, err = w.rest.CreateUsagePlanKey(ctx, &apigateway.CreateUsagePlanKeyInput{UsagePlanId: plan.Id, KeyId: key.Id, KeyType: ptr("API_KEY")})
	w.must(err)
	at := "/usageplans/" + *plan.Id
	w.done("PATCH", at, patching("replace /throttle/rateLimit 20", "replace /apiStages/"+s.id+":prod/throttle/~1orders~1{id}~1GET/rateLimit 1", "replace /quota/limit 50"), "")
	p := w.records.Shared.Get("plan/" + *plan.Id).Plan
	if p.Throttle != (gateway.Throttle{Rate: 20, Burst: 5}) || p.Quota.Limit != 50 || p.Keys[*key.Id] != "API_KEY" || p.Stages[0].Throttles["/orders/{id}/GET"].Rate != 1 {
		t.Errorf("%+v", p)
	}
	keys, err := w.rest.GetApiKeys(ctx, &apigateway.GetApiKeysInput{NameQuery: ptr("sh")})
	w.must(err)
	if len(keys.Items) != 1 || keys.Items[0].Value != nil {
		t.Errorf("%+v", keys.Items)
	}
	got, err := w.rest.GetApiKey(ctx, &apigateway.GetApiKeyInput{ApiKey: key.Id, IncludeValue: ptr(true)})
	w.must(err)
	if got.Value == nil || *got.Value != "01234567890123456789" {
		t.Errorf("%+v", got)
	}
	_, err = w.rest.CreateApiKey(ctx, &apigateway.CreateApiKeyInput{Name: ptr("again"), Value: got.Value})
	if code(err) != "ConflictException" {
		t.Error(err)
	}
	imported, err := w.rest.ImportApiKeys(ctx, &apigateway.ImportApiKeysInput{Format: types.ApiKeysFormatCsv,
		Body: []byte("name,key,enabled,usageplanids\na,aaaaaaaaaaaaaaaaaaaaaaaa,true," + *plan.Id + "\nb,short,true,\n")})
	w.must(err)
	if len(imported.Ids) != 1 || len(imported.Warnings) != 1 || len(w.records.Shared.Get("plan/"+*plan.Id).Plan.Keys) != 2 {
		t.Errorf("%+v", imported)
	}
	day := time.Now().UTC().Format(time.DateOnly)
	usage, err := w.rest.GetUsage(ctx, &apigateway.GetUsageInput{UsagePlanId: plan.Id, KeyId: key.Id, StartDate: &day, EndDate: &day})
	w.must(err)
	if got := usage.Items[*key.Id]; len(got) != 1 || got[0][0] != 7 || got[0][1] != 43 {
		t.Errorf("%v", usage.Items)
	}
	w.refused("DELETE", at, "", "BadRequestException", "there are API stages associated")
	w.refused("DELETE", s.at, "", "ConflictException", "usage plan")
	w.done("DELETE", "/apikeys/"+*key.Id, "", "")
	w.done("PATCH", at, patching("remove /apiStages "+s.id+":prod"), "")
	w.done("DELETE", at, "", "")
	w.done("DELETE", s.at, "", "")
}

// What is wrong with a request is said, with the service's code.
func TestRefusedOfREST(t *testing.T) {
	w := newWorld(t)
	s := w.shop()
	other := s.at + "/resources/" + s.orders + "/methods/GET"
	w.done("PUT", other, `{"authorizationType":"NONE"}`, "")
	for _, c := range []struct{ method, path, body, code, words string }{
		{"POST", "/restapis", `{}`, "BadRequestException", "name"},
		{"POST", "/restapis", `{"name":"a","endpointConfiguration":{"types":["PRIVATE"]}}`, "BadRequestException", "Private APIs are not there"},
		{"POST", "/restapis", `{"name":"a","policy":"{"}`, "BadRequestException", "Invalid policy document"},
		{"GET", "/restapis/none", "", "NotFoundException", "Invalid API identifier specified"},
		{"POST", s.at + "/resources/none", `{"pathPart":"a"}`, "NotFoundException", "Invalid Resource identifier"},
		{"POST", s.at + "/resources/" + s.orders, `{"pathPart":"{id}"}`, "ConflictException", "same parent already has this name"},
		{"POST", s.at + "/resources/" + s.orders, `{"pathPart":"{other}"}`, "BadRequestException", "sibling"},
		{"POST", s.at + "/resources/" + s.order, `{"pathPart":"{id}"}`, "BadRequestException", "variable"},
		{"POST", s.at + "/resources/" + s.orders, `{"pathPart":"a b"}`, "BadRequestException", "path part"},
		{"PUT", s.method, `{"authorizationType":"NONE"}`, "ConflictException", "Method already exists"},
		{"PUT", s.at + "/resources/" + s.order + "/methods/FETCH", `{"authorizationType":"NONE"}`, "BadRequestException", "Invalid HttpMethod"},
		{"PUT", s.at + "/resources/" + s.order + "/methods/PUT", `{"authorizationType":"CUSTOM"}`, "BadRequestException", "valid authorizer"},
		{"GET", s.at + "/resources/" + s.order + "/methods/PUT", "", "NotFoundException", "Invalid Method identifier"},
		{"GET", other + "/integration", "", "NotFoundException", "No integration defined"},
		{"PUT", other + "/integration", `{"type":"AWS","httpMethod":"POST","uri":"arn:aws:apigateway:eu-west-1:sqs:path/q"}`, "BadRequestException", "call the service in a function"},
		{"PUT", other + "/integration", `{"type":"AWS_PROXY","httpMethod":"GET","uri":"` + proxied + `"}`, "BadRequestException", "POST"},
		{"PUT", other + "/integration", `{"type":"HTTP","httpMethod":"GET","uri":"ftp://x"}`, "BadRequestException", "Invalid HTTP endpoint"},
		{"POST", s.at + "/deployments", `{}`, "BadRequestException", "No integration defined for method"},
		{"POST", s.at + "/stages", `{"stageName":"a","deploymentId":"none"}`, "NotFoundException", "Invalid Deployment identifier"},
		{"GET", s.at + "/stages/none", "", "NotFoundException", "Invalid stage identifier"},
		{"GET", s.at + "/models/none", "", "NotFoundException", "Invalid Model"},
		{"PUT", s.at + "/gatewayresponses/NONE", "{}", "NotFoundException", "response type"},
		{"GET", "/apikeys/none", "", "NotFoundException", "Invalid API Key identifier"},
		{"GET", "/usageplans/none", "", "NotFoundException", "Invalid Usage Plan ID"},
		{"GET", "/domainnames/none.example.org", "", "NotFoundException", "Invalid domain name identifier"},
		{"GET", s.at + "/documentation/parts", "", "NotImplementedException", "OpenAPI document"},
	} {
		w.refused(c.method, c.path, c.body, c.code, c.words)
	}
}

// Documents make APIs, whole or not at all; what is exported is a document.
func TestImports(t *testing.T) {
	w := newWorld(t)
	swagger, err := os.ReadFile("../openapi/testdata/rest.json")
	w.must(err)
	id := w.done("POST", "/restapis?mode=import", string(swagger), "id")
	at := "/restapis/" + id
	a := w.records.APIs.Get(id)
	if len(a.Draft.Routes) != 4 || a.Name != "shop" || !strings.Contains(a.Policy, ":"+id+"/*") || *a.MinCompression != 100 || rootOf(&a.Draft) == "" || a.Draft.Models["Empty"] == nil {
		t.Errorf("%+v", a)
	}
	w.done("POST", at+"/deployments", `{"stageName":"prod"}`, "")
	for _, kind := range []string{"swagger", "oas30"} {
		if out := w.done("GET", at+"/stages/prod/exports/"+kind+"?extensions=apigateway", "", ""); !strings.Contains(out, "x-amazon-apigateway-integration") || !strings.Contains(out, "/files/{proxy+}") {
			t.Error(out)
		}
	}
	const small = `{"openapi":"3.0.1","info":{"title":"shop","version":"2"},"paths":{"/orders":{"get":{"responses":{},"x-amazon-apigateway-integration":{"type":"mock"}}}}}`
	orders := a.Draft.Routes
	w.done("PUT", at+"?mode=merge", small, "")
	if now := w.records.APIs.Get(id).Draft; len(now.Routes) != len(orders)+1 {
		t.Errorf("after a merge %d methods", len(now.Routes))
	}
	w.done("PUT", at+"?mode=overwrite", small, "")
	if now := w.records.APIs.Get(id).Draft; len(now.Routes) != 1 || len(now.Resources) != 2 || rootOf(&now) != rootOf(&a.Draft) || len(now.Authorizers) != 0 {
		t.Errorf("after an overwrite %+v", now)
	}
	w.refused("PUT", at+"?failonwarnings=true", strings.Replace(small, `"type":"mock"`, `"$ref":"#/none"`, 1), "BadRequestException", "Warnings found during import")
	w.refused("PUT", at, strings.Replace(small, "mock", "magic", 1), "BadRequestException", "Unable to create integration on 'GET /orders'")
	w.refused("POST", "/restapis?mode=import", "[", "BadRequestException", "Invalid OpenAPI input")

	text, err := os.ReadFile("../openapi/testdata/http.yaml")
	w.must(err)
	made, err := w.http.ImportApi(t.Context(), &apigatewayv2.ImportApiInput{Body: ptr(string(text))})
	w.must(err)
	if len(made.Warnings) != 1 || !strings.Contains(made.Warnings[0], "GET /later") {
		t.Errorf("%q", made.Warnings)
	}
	if _, err := w.http.ImportApi(t.Context(), &apigatewayv2.ImportApiInput{Body: ptr(string(text)), FailOnWarnings: ptr(true)}); code(err) != "BadRequestException" {
		t.Error(err)
	}
	before := w.records.APIs.Get(*made.ApiId)
	out, err := w.http.ExportApi(t.Context(), &apigatewayv2.ExportApiInput{ApiId: made.ApiId, OutputType: ptr("YAML"), Specification: ptr("OAS30")})
	w.must(err)
	_, err = w.http.ReimportApi(t.Context(), &apigatewayv2.ReimportApiInput{ApiId: made.ApiId, Body: ptr(string(out.Body))})
	w.must(err)
	if now := w.records.APIs.Get(*made.ApiId); keep(now.Draft) != keep(before.Draft) {
		t.Errorf("imported again it is another:\n%s\n%s", keep(now.Draft), keep(before.Draft))
	}
}
