package api

import (
	"thaw/function"

	"thaw/internal/plainjson"
)

// The documents of resource policies. The order of the members is the service's. C-117.
type (
	policyDocument struct {
		Version   string
		ID        string `json:"Id"`
		Statement []policyStatement
	}
	policyStatement struct {
		Sid       string
		Effect    string
		Principal any // "*", or what names one
		Action    string
		Resource  function.ARN
		Condition *policyCondition `json:",omitempty"`
	}
	policyCondition struct {
		StringEquals *policyTexts      `json:",omitempty"`
		ArnLike      *policySource     `json:",omitempty"`
		Bool         map[string]string `json:",omitempty"`
	}
	policyTexts struct {
		URLAuthType   string `json:"lambda:FunctionUrlAuthType,omitempty"`
		Organisation  string `json:"aws:PrincipalOrgID,omitempty"`
		EventToken    string `json:"lambda:EventSourceToken,omitempty"`
		SourceAccount string `json:"AWS:SourceAccount,omitempty"`
	}
	policySource struct {
		SourceARN string `json:"AWS:SourceArn"`
	}
)

func statementOf(p *function.Permission, resource function.ARN) policyStatement {
	s := policyStatement{Sid: p.ID, Effect: "Allow", Action: p.Action, Resource: resource}
	switch {
	case p.Service != "":
		s.Principal = map[string]string{"Service": p.Service}
	case p.Principal != "":
		s.Principal = map[string]string{"AWS": p.Principal}
	default:
		s.Principal = "*"
	}
	var c policyCondition
	if t := (policyTexts{p.URLAuthType, p.Organisation, p.EventToken, p.SourceAccount}); t != (policyTexts{}) {
		c.StringEquals = &t
	}
	if p.SourceARN != "" {
		c.ArnLike = &policySource{p.SourceARN}
	}
	if p.ViaURL != nil {
		c.Bool = map[string]string{"lambda:InvokedViaFunctionUrl": map[bool]string{true: "true", false: "false"}[*p.ViaURL]}
	}
	if c.StringEquals != nil || c.ArnLike != nil || c.Bool != nil {
		s.Condition = &c
	}
	return s
}

// policyText is the whole policy of a resource.
func policyText(list []function.Permission, resource function.ARN) (string, error) {
	d := policyDocument{Version: "2012-10-17", ID: "default"}
	for i := range list {
		d.Statement = append(d.Statement, statementOf(&list[i], resource))
	}
	b, err := plainjson.Marshal(d)
	return string(b), err
}
