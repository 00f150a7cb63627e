package logsapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"thaw/iam"
)

// Needs is what a request must be allowed: its action on each group that it names, in the form that AWS's messages show.
// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon CloudWatch Logs".
func (s *Server) Needs(_ *http.Request, operation, region string, body []byte) []iam.Ask {
	var in struct {
		LogGroupName        string   `json:"logGroupName"`
		LogGroupIdentifier  string   `json:"logGroupIdentifier"`
		LogGroupNames       []string `json:"logGroupNames"`
		LogGroupIdentifiers []string `json:"logGroupIdentifiers"`
		LogStreamName       string   `json:"logStreamName"`
		ResourceArn         string   `json:"resourceArn"`
	}
	json.Unmarshal(body, &in) //nolint:errcheck // the operation will say what is wrong with it
	action := "logs:" + operation
	base := "arn:aws:logs:" + region + ":" + s.o.AccountID + ":log-group:"
	var list []iam.Ask
	for _, name := range append(append(in.LogGroupNames, in.LogGroupIdentifiers...), in.LogGroupName, in.LogGroupIdentifier) {
		if name == "" {
			continue
		}
		arn := base + name
		if strings.HasPrefix(name, "arn:") {
			arn = strings.TrimSuffix(name, ":*")
		}
		list = append(list, iam.Ask{Action: action, Resource: arn + ":log-stream:" + in.LogStreamName})
	}
	if in.ResourceArn != "" {
		list = append(list, iam.Ask{Action: action, Resource: in.ResourceArn})
	}
	switch {
	case len(list) > 0:
		return list
	case operation == "DescribeLogGroups":
		return []iam.Ask{{Action: action, Resource: base + ":log-stream:"}}
	}
	return []iam.Ask{{Action: action, Resource: "*"}}
}
