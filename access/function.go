package access

import (
	"thaw/function"
	"thaw/iam"
)

// PolicyOf is the policy of a function (q empty or $LATEST), or of one of its versions or aliases; nil: it has none.
func PolicyOf(r *function.Record, q function.Qualifier) *iam.Policy {
	if q == function.Latest {
		q = ""
	}
	if text := r.Documents[q]; text != "" {
		p, err := iam.Parse([]byte(text), iam.Resource)
		if err != nil { // it could be read when it was put; what cannot allows nothing
			return &iam.Policy{}
		}
		return p
	}
	list := r.Policies[q]
	if len(list) == 0 {
		return nil
	}
	p := &iam.Policy{}
	for i := range list {
		p.Statements = append(p.Statements, statementOf(&list[i]))
	}
	return p
}

// statementOf is a permission as iam has it. It is about the resource that it is stored with.
func statementOf(p *function.Permission) iam.Statement {
	s := iam.Statement{ID: p.ID, Actions: []string{p.Action}, Principals: &iam.Principals{Anybody: p.Anybody}}
	if p.Service != "" {
		s.Principals.Services = []string{p.Service}
	}
	if p.Principal != "" {
		s.Principals.AWS = []string{p.Principal}
	}
	add := func(operator, key, value string) {
		if value != "" {
			s.Conditions = append(s.Conditions, iam.NewCondition(operator, key, value))
		}
	}
	add("ArnLike", "aws:SourceArn", p.SourceARN)
	add("StringEquals", "aws:SourceAccount", p.SourceAccount)
	add("StringEquals", "lambda:EventSourceToken", p.EventToken)
	add("StringEquals", "aws:PrincipalOrgID", p.Organisation)
	add("StringEquals", "lambda:FunctionUrlAuthType", p.URLAuthType)
	if p.ViaURL != nil {
		add("Bool", "lambda:InvokedViaFunctionUrl", map[bool]string{true: "true", false: "false"}[*p.ViaURL])
	}
	return s
}

// InvokeFunction is the action of every invocation.
const InvokeFunction = "lambda:InvokeFunction"

// MayInvoke decides whether a caller may invoke a function, or what a qualifier names of it. It is the question of every
// sender: of signed requests, function URLs, and of sources that push events, which ask as ServiceOf and tell
// aws:SourceArn and aws:SourceAccount in the context.
func MayInvoke(who *Caller, r *function.Record, q function.Qualifier, in iam.Context) iam.Decision {
	ask := iam.Ask{Action: InvokeFunction, Resource: string(r.ARN().Qualified(q)), Context: in}
	return who.May(ask, r.Account, PolicyOf(r, q))
}

// MayCallURL decides whether a caller may call a function's URL, whose AuthType is authType. both asks for the second
// permission, too: AWS wants it of URLs made since October 2025. Source: Lambda Developer Guide, "Control access to Lambda
// function URLs".
func MayCallURL(who *Caller, r *function.Record, q function.Qualifier, authType string, both bool, given iam.Context) iam.Decision {
	in := iam.Context{}
	for k, v := range given {
		in[k] = v
	}
	in.Set("lambda:FunctionUrlAuthType", authType)
	in.Set("lambda:InvokedViaFunctionUrl", "true")
	ask := iam.Ask{Action: "lambda:InvokeFunctionUrl", Resource: string(r.ARN().Qualified(q)), Context: in}
	d := who.May(ask, r.Account, PolicyOf(r, q))
	if d.OK() && both {
		d = MayInvoke(who, r, q, in)
	}
	return d
}
