package gatewayapi

import "net/http"

// refusals are what the services have and this server does not: each says so, and what to do instead.
func refusals() []*operation {
	var all []*operation
	for _, r := range []struct{ path, why string }{
		{"/v2/vpclinks", noLinks},
		{"/vpclinks", noLinks},
		{"/v2/portals", "Developer portals are not there"},
		{"/v2/portalproducts", "Developer portals are not there"},
		{"/v2/domainnames/{domainName}/routingrules", "Routing rules are not there: map paths of the domain to stages (CreateApiMapping)"},
		{"/clientcertificates", "Client certificates are not there: let backends know this server by its address or by a header that an integration sets"},
		{"/domainnameaccessassociations", "Private domain names are not there: this server is as private as the address it listens on"},
		{"/rejectdomainnameaccessassociations", "Private domain names are not there: this server is as private as the address it listens on"},
		{"/sdktypes", noSDK},
		{"/restapis/{restapi_id}/stages/{stage_name}/sdks", noSDK},
		{"/restapis/{restapi_id}/documentation", "Documentation parts are not there: keep them in the OpenAPI document that the API is made from"},
	} {
		serve := func(*call) (any, error) {
			return nil, fail(http.StatusNotImplemented, "NotImplementedException", "%s.", r.why)
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			all = append(all, &operation{name: r.path, method: method, path: r.path, serve: serve}, &operation{name: r.path, method: method, path: r.path + "/{rest+}", serve: serve})
		}
	}
	return all
}

const noSDK = "SDKs are not generated here: export the API (GetExport, ExportApi), and let a generator of your language read it"
