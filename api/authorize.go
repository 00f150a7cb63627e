package api

import (
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"thaw/access"
	"thaw/eventsource"
	"thaw/function"
	"thaw/iam"
	"thaw/layer"
)

// What a signed request must be allowed, by whom it was signed with. Source: Service Authorization Reference, "Actions,
// resources, and condition keys for AWS Lambda".

// need is something that a request must be allowed, and the policy of what it is about; nil: that has none.
type need struct {
	iam.Ask
	policy *iam.Policy
}

// authorize refuses what the sender may not do, before anything is looked at that the request is about.
func (c *call) authorize() error {
	if c.caller.Everything {
		return nil
	}
	for _, n := range c.needs() {
		if err := c.mayDo(n.Ask, n.policy); err != nil {
			return err
		}
		if ownerOf(n.Resource, c.s.AccountID) == c.s.AccountID {
			continue
		}
		// What is allowed is of the sender's own account, of which this server has nothing.
		if strings.Contains(n.Resource, ":function:") && c.op.name != "CreateFunction" {
			return notFound(function.ARN(n.Resource))
		}
		return &Error{Code: "AccessDeniedException", Null: true}
	}
	return nil
}

// mayDo refuses one thing.
func (c *call) mayDo(ask iam.Ask, policy *iam.Policy) error {
	in := c.context()
	for k, v := range ask.Context {
		in[k] = v
	}
	ask.Context = in
	if d := c.caller.May(ask, ownerOf(ask.Resource, c.s.AccountID), policy); !d.OK() {
		return fail("AccessDeniedException", "%s", d.Message())
	}
	return nil
}

// ownerOf is the account in an ARN; what has none is the server's.
func ownerOf(arn, account string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && accountRE.MatchString(parts[4]) {
		return parts[4]
	}
	return account
}

// context is what is known of every request. Source: IAM User Guide, "AWS global condition context keys".
func (c *call) context() iam.Context {
	now := c.s.Plane.Now().UTC()
	in := iam.Context{}
	in.Set("aws:CurrentTime", now.Format(time.RFC3339))
	in.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	in.Set("aws:SecureTransport", strconv.FormatBool(c.r.TLS != nil))
	in.Set("aws:UserAgent", c.r.UserAgent())
	in.Set("aws:Referer", c.r.Referer())
	in.Set("aws:RequestedRegion", c.region)
	if host, _, err := net.SplitHostPort(c.r.RemoteAddr); err == nil {
		in.Set("aws:SourceIp", host)
	}
	return in
}

// qualified are the operations that are about what a qualifier names. All others are about the function, whatever their
// query says.
var qualified = map[string]bool{
	"Invoke": true, "InvokeWithResponseStream": true, "GetFunction": true, "GetFunctionConfiguration": true, "DeleteFunction": true,
	"AddPermission": true, "GetPolicy": true, "RemovePermission": true,
	"PutProvisionedConcurrencyConfig": true, "GetProvisionedConcurrencyConfig": true, "DeleteProvisionedConcurrencyConfig": true,
	"PutFunctionEventInvokeConfig": true, "UpdateFunctionEventInvokeConfig": true, "GetFunctionEventInvokeConfig": true, "DeleteFunctionEventInvokeConfig": true,
	"CreateFunctionUrlConfig": true, "UpdateFunctionUrlConfig": true, "GetFunctionUrlConfig": true, "DeleteFunctionUrlConfig": true,
	"GetRuntimeManagementConfig": true, "PutRuntimeManagementConfig": true, "GetFunctionScalingConfig": true, "PutFunctionScalingConfig": true,
}

// actions are those of operations that have another name in policies.
var actions = map[string]string{
	"Invoke": access.InvokeFunction, "InvokeAsync": access.InvokeFunction, "InvokeWithResponseStream": access.InvokeFunction,
	"GetLayerVersionByArn": getLayerVersion,
}

// action is the name of an operation in policies.
func (op *operation) action() string {
	if a, ok := actions[op.name]; ok {
		return a
	}
	return "lambda:" + op.name
}

// about is what a request is about: the path says of what kind that is.
func (c *call) about() need {
	n := need{Ask: iam.Ask{Action: c.op.action(), Resource: "*", Context: iam.Context{}}}
	first, _, _ := strings.Cut(c.op.path[strings.IndexByte(c.op.path, '{')+1:], "}")
	switch first {
	case "FunctionName":
		c.aboutFunction(&n, c.label)
	case "LayerName":
		if version := c.labels[1]; version != "" {
			c.aboutLayer(&n, c.label+":"+version)
		} else if c.op.name == "PublishLayerVersion" {
			c.aboutLayer(&n, c.label)
		}
	case "UUID":
		n.Resource = c.arn("event-source-mapping:" + c.label)
		c.ofMapping(&n)
	case "CapacityProviderName":
		n.Resource = c.arn("capacity-provider:" + c.label)
	case "DurableExecutionArn":
		n.Resource = c.label
	case "Resource", "ResourceArn", "CodeSigningConfigArn":
		if n.Resource = c.label; strings.Contains(c.label, ":function:") {
			c.aboutFunction(&n, c.label)
		}
	}
	if arn, ok := c.query("Arn"); ok && c.op.name == "GetLayerVersionByArn" {
		c.aboutLayer(&n, arn)
	}
	return n
}

// ofMapping tells which function an event source mapping is of.
func (c *call) ofMapping(n *need) {
	if c.s.Sources == nil {
		return
	}
	if m, err := c.s.Sources.Get(eventsource.ID(strings.ToLower(c.label))); err == nil {
		c.ofFunction(n, string(m.FunctionARN()))
	}
}

// ofFunction says in the context which function something else is of.
func (c *call) ofFunction(n *need, name string) {
	of := need{Ask: iam.Ask{Context: iam.Context{}}}
	c.aboutFunction(&of, name)
	n.Context.Set("lambda:FunctionArn", strings.Join(of.Context["lambda:functionarn"], ""))
}

// arn is one of the sender's account.
func (c *call) arn(resource string) string {
	return "arn:" + partitionOf(c.region) + ":lambda:" + c.region + ":" + c.caller.Account + ":" + resource
}

func (c *call) aboutFunction(n *need, name string) {
	ref, err := function.ParseRead(name)
	if err != nil { // the operation will say what is wrong with it
		n.Resource = c.arn("function:" + name)
		return
	}
	t := target{key: function.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name}, partition: ref.Partition}
	if t.key.Account == "" {
		t.key.Account = c.caller.Account
	}
	if t.key.Region == "" {
		t.key.Region = c.region
	}
	if t.partition == "" {
		t.partition = partitionOf(c.region)
	}
	if qualified[c.op.name] {
		if t.qualifier = ref.Qualifier; t.qualifier == "" {
			q, _ := c.query("Qualifier")
			t.qualifier = function.Qualifier(q)
		}
	}
	n.Resource = string(t.asNamed())
	n.Context.Set("lambda:FunctionArn", string(t.arn()))
	if e := c.s.view.Get(t.key); e != nil {
		n.policy = access.PolicyOf(e.Record, t.qualifier)
		for k, v := range e.Record.Tags {
			n.Context.Set("aws:ResourceTag/"+k, v)
		}
	}
}

func (c *call) aboutLayer(n *need, name string) {
	ref, ok := layer.Parse(name)
	if !ok {
		name, number, _ := strings.Cut(name, ":")
		if ref, ok = layer.Parse(name); ok {
			ref.Number, _ = strconv.Atoi(number) //nolint:errcheck // then it names no version
		} else {
			n.Resource = c.arn("layer:" + name)
			return
		}
	}
	r := layer.Record{Key: layer.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name}, Partition: ref.Partition}
	if ref.Account == "" {
		r.Account, r.Region, r.Partition = c.caller.Account, c.region, partitionOf(c.region)
	}
	if n.Resource = r.ARN(); ref.Number != 0 {
		n.Resource = r.VersionARN(ref.Number)
	}
	if there := c.s.Plane.Layers.Get(r.Key); there != nil {
		if v := there.Find(ref.Number); v != nil {
			n.policy = layerPolicy(v)
		}
	}
}

// layerPolicy is the policy of a layer's version; nil: it has none.
func layerPolicy(v *layer.Version) *iam.Policy {
	if len(v.Statements) == 0 {
		return nil
	}
	p := &iam.Policy{}
	for _, s := range v.Statements {
		out := iam.Statement{ID: s.ID, Actions: []string{getLayerVersion}, Principals: &iam.Principals{Anybody: s.Principal == "*"}}
		if s.Principal != "*" {
			out.Principals.AWS = []string{s.Principal}
		}
		if s.Organization != "" {
			out.Conditions = []iam.Condition{iam.NewCondition("StringEquals", "aws:PrincipalOrgID", s.Organization)}
		}
		p.Statements = append(p.Statements, out)
	}
	return p
}

// members are those of bodies that policies can tell apart.
type members struct {
	FunctionName, Role, CodeSigningConfigArn string
	AuthType, FunctionUrlAuthType, Principal string
	Layers                                   []string
	Tags                                     map[string]string
	VpcConfig                                struct{ SubnetIds, SecurityGroupIds []string }
}

// reads are the operations whose bodies policies can tell apart.
var reads = map[string]bool{
	"CreateFunction": true, "UpdateFunctionConfiguration": true, "AddPermission": true, "CreateFunctionUrlConfig": true, "UpdateFunctionUrlConfig": true,
	"CreateEventSourceMapping": true, "UpdateEventSourceMapping": true, "TagResource": true, "PutFunctionCodeSigningConfig": true, "CreateCodeSigningConfig": true,
}

// needs is all that a request must be allowed. Whoever gives a function a role must be allowed to, else a key that may
// create functions could do all that any role may; and whoever gives it a layer must be allowed to read that.
func (c *call) needs() []need {
	main := c.about()
	if !reads[c.op.name] {
		return []need{main}
	}
	var in members
	if err := json.Unmarshal(c.body, &in); err != nil { // as the operation will say
		in = members{}
	}
	if c.op.name == "CreateFunction" {
		c.aboutFunction(&main, in.FunctionName)
	}
	list := []need{}
	if c.op.name == "UpdateEventSourceMapping" && in.FunctionName != "" { // of the function that it has, and the one it is to have
		before := main
		before.Context = maps.Clone(main.Context)
		list = append(list, before)
	}
	if strings.HasSuffix(c.op.name, "EventSourceMapping") && in.FunctionName != "" {
		c.ofFunction(&main, in.FunctionName)
	}
	ctx := main.Context
	ctx.Set("lambda:CodeSigningConfigArn", in.CodeSigningConfigArn)
	ctx.Set("lambda:FunctionUrlAuthType", in.AuthType+in.FunctionUrlAuthType)
	ctx.Set("lambda:Principal", in.Principal)
	for key, list := range map[string][]string{"lambda:layer": in.Layers, "lambda:subnetids": in.VpcConfig.SubnetIds, "lambda:securitygroupids": in.VpcConfig.SecurityGroupIds} {
		if len(list) > 0 {
			ctx[key] = list
		}
	}
	for k, v := range in.Tags {
		ctx.Set("aws:RequestTag/"+k, v)
		ctx["aws:tagkeys"] = append(ctx["aws:tagkeys"], k)
	}
	list = append(list, main)
	if in.Role != "" && (c.op.name == "CreateFunction" || c.op.name == "UpdateFunctionConfiguration") {
		pass := iam.Context{}
		pass.Set("iam:PassedToService", "lambda.amazonaws.com")
		pass.Set("iam:AssociatedResourceArn", main.Resource)
		list = append(list, need{Ask: iam.Ask{Action: "iam:PassRole", Resource: in.Role, Context: pass}})
	}
	for _, arn := range in.Layers {
		n := need{Ask: iam.Ask{Action: getLayerVersion, Context: iam.Context{}}}
		c.aboutLayer(&n, arn)
		list = append(list, n)
	}
	return list
}
