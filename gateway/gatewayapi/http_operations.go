package gatewayapi

// operationsOfHTTP is apigatewayv2. What it has and is refused is in refusals.
func operationsOfHTTP() []*operation {
	const (
		api, stage       = "/v2/apis/{apiId}", "/v2/apis/{apiId}/stages/{stageName}"
		routes           = api + "/routes"
		integrations     = api + "/integrations"
		routeAnswers     = routes + "/{routeId}/routeresponses"
		integrationParts = integrations + "/{integrationId}/integrationresponses"
		domain           = "/v2/domainnames/{domainName}"
		mapping          = domain + "/apimappings"
	)
	return []*operation{
		{name: "CreateApi", method: "POST", path: "/v2/apis", status: 201, serve: (*call).createAPI},
		{name: "GetApis", method: "GET", path: "/v2/apis", serve: (*call).getAPIs},
		{name: "ImportApi", method: "PUT", path: "/v2/apis", status: 201, serve: (*call).importAPI},
		{name: "GetApi", method: "GET", path: api, serve: (*call).getAPI},
		{name: "UpdateApi", method: "PATCH", path: api, serve: (*call).updateAPI},
		{name: "ReimportApi", method: "PUT", path: api, status: 201, serve: (*call).reimportAPI},
		{name: "ExportApi", method: "GET", path: api + "/exports/{specification}", serve: (*call).exportAPI},
		{name: "DeleteApi", method: "DELETE", path: api, status: 204, serve: (*call).deleteAPI},
		{name: "DeleteCorsConfiguration", method: "DELETE", path: api + "/cors", status: 204, serve: (*call).deleteCORS},

		{name: "CreateRoute", method: "POST", path: routes, status: 201, serve: (*call).createRoute},
		{name: "GetRoutes", method: "GET", path: routes, serve: (*call).getRoutes},
		{name: "GetRoute", method: "GET", path: routes + "/{routeId}", serve: (*call).getRoute},
		{name: "UpdateRoute", method: "PATCH", path: routes + "/{routeId}", serve: (*call).updateRoute},
		{name: "DeleteRoute", method: "DELETE", path: routes + "/{routeId}", status: 204, serve: (*call).deleteRoute},
		{name: "DeleteRouteRequestParameter", method: "DELETE", path: routes + "/{routeId}/requestparameters/{requestParameterKey}", status: 204,
			serve: (*call).deleteRouteParameter},
		{name: "CreateRouteResponse", method: "POST", path: routeAnswers, status: 201, serve: (*call).createRouteResponse},
		{name: "GetRouteResponses", method: "GET", path: routeAnswers, serve: (*call).getRouteResponses},
		{name: "GetRouteResponse", method: "GET", path: routeAnswers + "/{routeResponseId}", serve: (*call).getRouteResponse},
		{name: "UpdateRouteResponse", method: "PATCH", path: routeAnswers + "/{routeResponseId}", serve: (*call).updateRouteResponse},
		{name: "DeleteRouteResponse", method: "DELETE", path: routeAnswers + "/{routeResponseId}", status: 204, serve: (*call).deleteRouteResponse},

		{name: "CreateIntegration", method: "POST", path: integrations, status: 201, serve: (*call).createIntegration},
		{name: "GetIntegrations", method: "GET", path: integrations, serve: (*call).getIntegrations},
		{name: "GetIntegration", method: "GET", path: integrations + "/{integrationId}", serve: (*call).getIntegration},
		{name: "UpdateIntegration", method: "PATCH", path: integrations + "/{integrationId}", serve: (*call).updateIntegration},
		{name: "DeleteIntegration", method: "DELETE", path: integrations + "/{integrationId}", status: 204, serve: (*call).deleteIntegration},
		{name: "CreateIntegrationResponse", method: "POST", path: integrationParts, status: 201, serve: (*call).createIntegrationResponse},
		{name: "GetIntegrationResponses", method: "GET", path: integrationParts, serve: (*call).getIntegrationResponses},
		{name: "GetIntegrationResponse", method: "GET", path: integrationParts + "/{integrationResponseId}", serve: (*call).getIntegrationResponse},
		{name: "UpdateIntegrationResponse", method: "PATCH", path: integrationParts + "/{integrationResponseId}", serve: (*call).updateIntegrationResponse},
		{name: "DeleteIntegrationResponse", method: "DELETE", path: integrationParts + "/{integrationResponseId}", status: 204,
			serve: (*call).deleteIntegrationResponse},

		{name: "CreateStage", method: "POST", path: api + "/stages", status: 201, serve: (*call).createStage},
		{name: "GetStages", method: "GET", path: api + "/stages", serve: (*call).getStages},
		{name: "GetStage", method: "GET", path: stage, serve: (*call).getStage},
		{name: "UpdateStage", method: "PATCH", path: stage, serve: (*call).updateStage},
		{name: "DeleteStage", method: "DELETE", path: stage, status: 204, serve: (*call).deleteStage},
		{name: "DeleteRouteSettings", method: "DELETE", path: stage + "/routesettings/{routeKey+}", status: 204, serve: (*call).deleteRouteSettings},
		{name: "DeleteAccessLogSettings", method: "DELETE", path: stage + "/accesslogsettings", status: 204, serve: (*call).deleteAccessLog},
		{name: "ResetAuthorizersCache", method: "DELETE", path: stage + "/cache/authorizers", status: 204, serve: (*call).resetAuthorizers},

		{name: "CreateDeployment", method: "POST", path: api + "/deployments", status: 201, serve: (*call).createDeployment},
		{name: "GetDeployments", method: "GET", path: api + "/deployments", serve: (*call).getDeployments},
		{name: "GetDeployment", method: "GET", path: api + "/deployments/{deploymentId}", serve: (*call).getDeployment},
		{name: "UpdateDeployment", method: "PATCH", path: api + "/deployments/{deploymentId}", serve: (*call).updateDeployment},
		{name: "DeleteDeployment", method: "DELETE", path: api + "/deployments/{deploymentId}", status: 204, serve: (*call).deleteDeployment},

		{name: "CreateAuthorizer", method: "POST", path: api + "/authorizers", status: 201, serve: (*call).createAuthorizer},
		{name: "GetAuthorizers", method: "GET", path: api + "/authorizers", serve: (*call).getAuthorizers},
		{name: "GetAuthorizer", method: "GET", path: api + "/authorizers/{authorizerId}", serve: (*call).getAuthorizer},
		{name: "UpdateAuthorizer", method: "PATCH", path: api + "/authorizers/{authorizerId}", serve: (*call).updateAuthorizer},
		{name: "DeleteAuthorizer", method: "DELETE", path: api + "/authorizers/{authorizerId}", status: 204, serve: (*call).deleteAuthorizer},

		{name: "CreateModel", method: "POST", path: api + "/models", status: 201, serve: (*call).createModel},
		{name: "GetModels", method: "GET", path: api + "/models", serve: (*call).getModels},
		{name: "GetModel", method: "GET", path: api + "/models/{modelId}", serve: (*call).getModel},
		{name: "GetModelTemplate", method: "GET", path: api + "/models/{modelId}/template", serve: (*call).getModelTemplate},
		{name: "UpdateModel", method: "PATCH", path: api + "/models/{modelId}", serve: (*call).updateModel},
		{name: "DeleteModel", method: "DELETE", path: api + "/models/{modelId}", status: 204, serve: (*call).deleteModel},

		{name: "CreateDomainName", method: "POST", path: "/v2/domainnames", status: 201, serve: (*call).createDomain},
		{name: "GetDomainNames", method: "GET", path: "/v2/domainnames", serve: (*call).getDomains},
		{name: "GetDomainName", method: "GET", path: domain, serve: (*call).getDomain},
		{name: "UpdateDomainName", method: "PATCH", path: domain, serve: (*call).updateDomain},
		{name: "DeleteDomainName", method: "DELETE", path: domain, status: 204, serve: (*call).deleteDomain},
		{name: "CreateApiMapping", method: "POST", path: mapping, status: 201, serve: (*call).createMapping},
		{name: "GetApiMappings", method: "GET", path: mapping, serve: (*call).getMappings},
		{name: "GetApiMapping", method: "GET", path: mapping + "/{apiMappingId}", serve: (*call).getMapping},
		{name: "UpdateApiMapping", method: "PATCH", path: mapping + "/{apiMappingId}", serve: (*call).updateMapping},
		{name: "DeleteApiMapping", method: "DELETE", path: mapping + "/{apiMappingId}", status: 204, serve: (*call).deleteMapping},

		{name: "GetTags", method: "GET", path: "/v2/tags/{resource-arn+}", serve: (*call).getTags},
		{name: "TagResource", method: "POST", path: "/v2/tags/{resource-arn+}", status: 201, serve: (*call).tagResource},
		{name: "UntagResource", method: "DELETE", path: "/v2/tags/{resource-arn+}", status: 204, serve: (*call).untagResource},
	}
}
