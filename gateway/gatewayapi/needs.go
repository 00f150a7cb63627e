package gatewayapi

import (
	"net/http"
	"net/url"
	"strings"

	"thaw/iam"
)

// Needs is what a request must be allowed: the method on the path, as AWS asks it; the paths of apigatewayv2 are the same
// without /v2. It is the path that find reads, however it was written: /%61pis is /apis, else a policy that denies that
// would be got round. Source: Service Authorization Reference, "API Gateway Management" and "API Gateway Management V2".
func (s *Server) Needs(r *http.Request, _, region string, _ []byte) []iam.Ask {
	segments := segmentsOf(r)
	for i, one := range segments {
		if text, err := url.PathUnescape(one); err == nil {
			segments[i] = strings.ReplaceAll(url.QueryEscape(text), "+", "%20") // as AWS's clients write a segment
		}
	}
	if len(segments) > 1 && segments[0] == "v2" {
		segments = segments[1:]
	}
	return []iam.Ask{{Action: "apigateway:" + strings.ToUpper(r.Method), Resource: "arn:aws:apigateway:" + region + "::/" + strings.Join(segments, "/")}}
}

// segmentsOf are those of a request's path, escaped as they were sent.
func segmentsOf(r *http.Request) []string {
	return strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
}
