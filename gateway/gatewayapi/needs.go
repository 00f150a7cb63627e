package gatewayapi

import (
	"net/http"
	"strings"

	"thaw/iam"
)

// Needs is what a request must be allowed: the method on the path, as AWS asks it; the paths of apigatewayv2 are the same
// without /v2. Source: Service Authorization Reference, "API Gateway Management" and "API Gateway Management V2".
func (s *Server) Needs(r *http.Request, _, region string, _ []byte) []iam.Ask {
	path := "/" + strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), "/v2"), "/")
	return []iam.Ask{{Action: "apigateway:" + strings.ToUpper(r.Method), Resource: "arn:aws:apigateway:" + region + "::" + path}}
}
