package gatewayapi

// operationsOfREST is apigateway. What it has and is refused is in refusals.
func operationsOfREST() []*operation {
	const (
		api       = "/restapis/{restapi_id}"
		resource  = api + "/resources/{resource_id}"
		method    = resource + "/methods/{http_method}"
		answer    = method + "/responses/{status_code}"
		back      = method + "/integration"
		reshaping = back + "/responses/{status_code}"
		deploy    = api + "/deployments"
		stage     = api + "/stages/{stage_name}"
		plan      = "/usageplans/{usageplanId}"
		domain    = "/domainnames/{domain_name}"
		base      = domain + "/basepathmappings"
	)
	all := []*operation{
		{name: "ImportRestApi", method: "POST", path: "/restapis", query: "mode=import", status: 201, serve: (*call).importREST},
		{name: "PutRestApi", method: "PUT", path: api, serve: (*call).putREST},
		{name: "GetExport", method: "GET", path: stage + "/exports/{export_type}", serve: (*call).getExport},
		{name: "CreateRestApi", method: "POST", path: "/restapis", status: 201, serve: (*call).createREST},
		{name: "GetRestApis", method: "GET", path: "/restapis", serve: (*call).getRESTs},
		{name: "GetRestApi", method: "GET", path: api, serve: (*call).getREST},
		{name: "UpdateRestApi", method: "PATCH", path: api, serve: (*call).updateREST},
		{name: "DeleteRestApi", method: "DELETE", path: api, status: 202, serve: (*call).deleteREST},

		{name: "CreateResource", method: "POST", path: api + "/resources/{parent_id}", status: 201, serve: (*call).createResource},
		{name: "GetResources", method: "GET", path: api + "/resources", serve: (*call).getResources},
		{name: "GetResource", method: "GET", path: resource, serve: (*call).getResource},
		{name: "UpdateResource", method: "PATCH", path: resource, serve: (*call).updateResource},
		{name: "DeleteResource", method: "DELETE", path: resource, status: 202, serve: (*call).deleteResource},

		{name: "PutMethod", method: "PUT", path: method, status: 201, serve: (*call).putMethod},
		{name: "GetMethod", method: "GET", path: method, serve: (*call).getMethod},
		{name: "UpdateMethod", method: "PATCH", path: method, serve: (*call).updateMethod},
		{name: "DeleteMethod", method: "DELETE", path: method, status: 204, serve: (*call).deleteMethod},
		{name: "TestInvokeMethod", method: "POST", path: method, serve: (*call).testInvoke},
		{name: "PutMethodResponse", method: "PUT", path: answer, status: 201, serve: (*call).putMethodResponse},
		{name: "GetMethodResponse", method: "GET", path: answer, serve: (*call).getMethodResponse},
		{name: "UpdateMethodResponse", method: "PATCH", path: answer, status: 201, serve: (*call).updateMethodResponse},
		{name: "DeleteMethodResponse", method: "DELETE", path: answer, status: 204, serve: (*call).deleteMethodResponse},

		{name: "PutIntegration", method: "PUT", path: back, status: 201, serve: (*call).putIntegration},
		{name: "GetIntegration", method: "GET", path: back, serve: (*call).getRESTIntegration},
		{name: "UpdateIntegration", method: "PATCH", path: back, serve: (*call).updateRESTIntegration},
		{name: "DeleteIntegration", method: "DELETE", path: back, status: 204, serve: (*call).deleteRESTIntegration},
		{name: "PutIntegrationResponse", method: "PUT", path: reshaping, status: 201, serve: (*call).putIntegrationResponse},
		{name: "GetIntegrationResponse", method: "GET", path: reshaping, serve: (*call).getRESTIntegrationResponse},
		{name: "UpdateIntegrationResponse", method: "PATCH", path: reshaping, serve: (*call).updateRESTIntegrationResponse},
		{name: "DeleteIntegrationResponse", method: "DELETE", path: reshaping, status: 204, serve: (*call).deleteRESTIntegrationResponse},

		{name: "CreateDeployment", method: "POST", path: deploy, status: 201, serve: (*call).createRESTDeployment},
		{name: "GetDeployments", method: "GET", path: deploy, serve: (*call).getRESTDeployments},
		{name: "GetDeployment", method: "GET", path: deploy + "/{deployment_id}", serve: (*call).getRESTDeployment},
		{name: "UpdateDeployment", method: "PATCH", path: deploy + "/{deployment_id}", serve: (*call).updateRESTDeployment},
		{name: "DeleteDeployment", method: "DELETE", path: deploy + "/{deployment_id}", status: 202, serve: (*call).deleteDeployment},

		{name: "CreateStage", method: "POST", path: api + "/stages", status: 201, serve: (*call).createRESTStage},
		{name: "GetStages", method: "GET", path: api + "/stages", serve: (*call).getRESTStages},
		{name: "GetStage", method: "GET", path: stage, serve: (*call).getRESTStage},
		{name: "UpdateStage", method: "PATCH", path: stage, serve: (*call).updateRESTStage},
		{name: "DeleteStage", method: "DELETE", path: stage, status: 202, serve: (*call).deleteStage},
		{name: "FlushStageAuthorizersCache", method: "DELETE", path: stage + "/cache/authorizers", status: 202, serve: (*call).resetAuthorizers},
		{name: "FlushStageCache", method: "DELETE", path: stage + "/cache/data", status: 202, serve: (*call).flushCache},

		{name: "CreateUsagePlan", method: "POST", path: "/usageplans", status: 201, serve: (*call).createPlan},
		{name: "GetUsagePlans", method: "GET", path: "/usageplans", serve: (*call).getPlans},
		{name: "GetUsagePlan", method: "GET", path: plan, serve: (*call).getPlan},
		{name: "UpdateUsagePlan", method: "PATCH", path: plan, serve: (*call).updatePlan},
		{name: "DeleteUsagePlan", method: "DELETE", path: plan, status: 202, serve: (*call).deletePlan},
		{name: "GetUsage", method: "GET", path: plan + "/usage", serve: (*call).getUsage},
		{name: "UpdateUsage", method: "PATCH", path: plan + "/keys/{keyId}/usage", serve: (*call).updateUsage},
		{name: "CreateUsagePlanKey", method: "POST", path: plan + "/keys", status: 201, serve: (*call).createPlanKey},
		{name: "GetUsagePlanKeys", method: "GET", path: plan + "/keys", serve: (*call).getPlanKeys},
		{name: "GetUsagePlanKey", method: "GET", path: plan + "/keys/{keyId}", serve: (*call).getPlanKey},
		{name: "DeleteUsagePlanKey", method: "DELETE", path: plan + "/keys/{keyId}", status: 202, serve: (*call).deletePlanKey},

		{name: "CreateDomainName", method: "POST", path: "/domainnames", status: 201, serve: (*call).createRESTDomain},
		{name: "GetDomainNames", method: "GET", path: "/domainnames", serve: (*call).getRESTDomains},
		{name: "GetDomainName", method: "GET", path: domain, serve: (*call).getRESTDomain},
		{name: "UpdateDomainName", method: "PATCH", path: domain, serve: (*call).updateRESTDomain},
		{name: "DeleteDomainName", method: "DELETE", path: domain, status: 202, serve: (*call).deleteDomain},
		{name: "CreateBasePathMapping", method: "POST", path: base, status: 201, serve: (*call).createBasePath},
		{name: "GetBasePathMappings", method: "GET", path: base, serve: (*call).getBasePaths},
		{name: "GetBasePathMapping", method: "GET", path: base + "/{base_path}", serve: (*call).getBasePath},
		{name: "UpdateBasePathMapping", method: "PATCH", path: base + "/{base_path}", serve: (*call).updateBasePath},
		{name: "DeleteBasePathMapping", method: "DELETE", path: base + "/{base_path}", status: 202, serve: (*call).deleteBasePath},
	}
	return append(all, partsOfREST()...)
}

// partsOfREST is what methods refer to, and what all APIs share.
func partsOfREST() []*operation {
	const api = "/restapis/{restapi_id}"
	return []*operation{
		{name: "CreateAuthorizer", method: "POST", path: api + "/authorizers", status: 201, serve: (*call).createRESTAuthorizer},
		{name: "GetAuthorizers", method: "GET", path: api + "/authorizers", serve: (*call).getRESTAuthorizers},
		{name: "GetAuthorizer", method: "GET", path: api + "/authorizers/{authorizer_id}", serve: (*call).getRESTAuthorizer},
		{name: "UpdateAuthorizer", method: "PATCH", path: api + "/authorizers/{authorizer_id}", serve: (*call).updateRESTAuthorizer},
		{name: "DeleteAuthorizer", method: "DELETE", path: api + "/authorizers/{authorizer_id}", status: 202, serve: (*call).deleteAuthorizer},

		{name: "TestInvokeAuthorizer", method: "POST", path: api + "/authorizers/{authorizer_id}", serve: (*call).testInvoke},
		{name: "CreateRequestValidator", method: "POST", path: api + "/requestvalidators", status: 201, serve: (*call).createValidator},
		{name: "GetRequestValidators", method: "GET", path: api + "/requestvalidators", serve: (*call).getValidators},
		{name: "GetRequestValidator", method: "GET", path: api + "/requestvalidators/{requestvalidator_id}", serve: (*call).getValidator},
		{name: "UpdateRequestValidator", method: "PATCH", path: api + "/requestvalidators/{requestvalidator_id}", serve: (*call).updateValidator},
		{name: "DeleteRequestValidator", method: "DELETE", path: api + "/requestvalidators/{requestvalidator_id}", status: 202, serve: (*call).deleteValidator},

		{name: "CreateModel", method: "POST", path: api + "/models", status: 201, serve: (*call).createRESTModel},
		{name: "GetModels", method: "GET", path: api + "/models", serve: (*call).getRESTModels},
		{name: "GetModel", method: "GET", path: api + "/models/{model_name}", serve: (*call).getRESTModel},
		{name: "GetModelTemplate", method: "GET", path: api + "/models/{model_name}/default_template", serve: (*call).getRESTModelTemplate},
		{name: "UpdateModel", method: "PATCH", path: api + "/models/{model_name}", serve: (*call).updateRESTModel},
		{name: "DeleteModel", method: "DELETE", path: api + "/models/{model_name}", status: 202, serve: (*call).deleteRESTModel},

		{name: "PutGatewayResponse", method: "PUT", path: api + "/gatewayresponses/{response_type}", status: 201, serve: (*call).putAnswer},
		{name: "GetGatewayResponses", method: "GET", path: api + "/gatewayresponses", serve: (*call).getAnswers},
		{name: "GetGatewayResponse", method: "GET", path: api + "/gatewayresponses/{response_type}", serve: (*call).getAnswer},
		{name: "UpdateGatewayResponse", method: "PATCH", path: api + "/gatewayresponses/{response_type}", serve: (*call).updateAnswer},
		{name: "DeleteGatewayResponse", method: "DELETE", path: api + "/gatewayresponses/{response_type}", status: 202, serve: (*call).deleteAnswer},

		{name: "ImportApiKeys", method: "POST", path: "/apikeys", query: "mode=import", status: 201, serve: (*call).importKeys},
		{name: "CreateApiKey", method: "POST", path: "/apikeys", status: 201, serve: (*call).createKey},
		{name: "GetApiKeys", method: "GET", path: "/apikeys", serve: (*call).getKeys},
		{name: "GetApiKey", method: "GET", path: "/apikeys/{api_Key}", serve: (*call).getKey},
		{name: "UpdateApiKey", method: "PATCH", path: "/apikeys/{api_Key}", serve: (*call).updateKey},
		{name: "DeleteApiKey", method: "DELETE", path: "/apikeys/{api_Key}", status: 202, serve: (*call).deleteKey},

		{name: "GetAccount", method: "GET", path: "/account", serve: (*call).getAccount},
		{name: "UpdateAccount", method: "PATCH", path: "/account", serve: (*call).updateAccount},
		{name: "GetTags", method: "GET", path: "/tags/{resource_arn+}", serve: (*call).getTags},
		{name: "TagResource", method: "PUT", path: "/tags/{resource_arn+}", status: 204, serve: (*call).tagResource},
		{name: "UntagResource", method: "DELETE", path: "/tags/{resource_arn+}", status: 204, serve: (*call).untagResource},
	}
}
