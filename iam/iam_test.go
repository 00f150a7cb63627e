package iam

import (
	"strings"
	"testing"
)

const fn = "arn:aws:lambda:eu-west-1:111111111111:function:one"

func policy(t testing.TB, kind Kind, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text), kind)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// allow is a document with one statement.
func allow(rest string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow",` + rest + `}}`
}

var (
	bob  = Principal{Kind: User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/bob", ID: "AIDABOB", Name: "bob"}
	eve  = Principal{Kind: User, Account: "222222222222", ARN: "arn:aws:iam::222222222222:user/eve", Name: "eve"}
	root = Principal{Kind: Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root", ID: "111111111111"}
	run  = Principal{Kind: Session, Account: "111111111111", ARN: "arn:aws:sts::111111111111:assumed-role/run/fn", Role: "arn:aws:iam::111111111111:role/run"}
	s3   = Principal{Kind: Service, Name: "s3.amazonaws.com"}
)

func TestDecide(t *testing.T) {
	t.Parallel()
	invoke := Ask{Action: "lambda:InvokeFunction", Resource: fn}
	open := func(principal, more string) string {
		return allow(`"Principal":` + principal + `,"Action":"lambda:InvokeFunction","Resource":"` + fn + `"` + more)
	}
	const denied = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"lambda:Invoke*","Resource":"*"}]}`
	for _, c := range []struct {
		name                        string
		who                         Principal
		identity, session, resource string
		trust                       bool
		want                        Because
	}{
		{"nothing allows", bob, "", "", "", false, NoIdentityAllows},
		{"root needs no policy", root, "", "", "", false, Allowed},
		{"the user's policy allows", bob, allow(`"Action":"lambda:InvokeFunction","Resource":"` + fn + `"`), "", "", false, Allowed},
		{"another action", bob, allow(`"Action":"lambda:GetFunction","Resource":"*"`), "", "", false, NoIdentityAllows},
		{"another function", bob, allow(`"Action":"*","Resource":"` + fn + `2"`), "", "", false, NoIdentityAllows},
		{"NotAction leaves the action", bob, allow(`"NotAction":"lambda:Delete*","Resource":"*"`), "", "", false, Allowed},
		{"NotAction takes the action", bob, allow(`"NotAction":["LAMBDA:invoke*"],"Resource":"*"`), "", "", false, NoIdentityAllows},
		{"NotResource takes the function", bob, allow(`"Action":"*","NotResource":"` + fn + `"`), "", "", false, NoIdentityAllows},
		{"a deny wins over an allow", bob, denied, "", "", false, DeniedByIdentity},
		{"a deny wins over the resource's allow", bob, denied, "", open(`"*"`, ""), false, DeniedByIdentity},
		{"the resource's deny wins over root", root, "", "", strings.Replace(open(`"*"`, ""), "Allow", "Deny", 1), false, DeniedByResource},
		{"a deny of the account is one of its users", bob, allow(`"Action":"*","Resource":"*"`), "", strings.Replace(open(`{"AWS":"111111111111"}`, ""), "Allow", "Deny", 1), false, DeniedByResource},
		{"the function allows its account's user by name", bob, "", "", open(`{"AWS":"arn:aws:iam::111111111111:user/bob"}`, ""), false, Allowed},
		{"the function allows everybody", bob, "", "", open(`"*"`, ""), false, Allowed},
		{"the function allows the account, which lets its user not", bob, "", "", open(`{"AWS":"arn:aws:iam::111111111111:root"}`, ""), false, NoIdentityAllows},
		{"the function allows the account's role", run, "", "", open(`{"AWS":"arn:aws:iam::111111111111:role/run"}`, ""), false, Allowed},
		{"another account, allowed by its own policy alone", eve, allow(`"Action":"*","Resource":"*"`), "", "", false, NoResourceAllows},
		{"another account, allowed by the function alone", eve, "", "", open(`{"AWS":"222222222222"}`, ""), false, NoIdentityAllows},
		{"another account, allowed by both", eve, allow(`"Action":"*","Resource":"*"`), "", open(`{"AWS":"222222222222"}`, ""), false, Allowed},
		{"a service that the function allows", s3, "", "", open(`{"Service":"s3.amazonaws.com"}`, ""), false, Allowed},
		{"another service", s3, "", "", open(`{"Service":"sns.amazonaws.com"}`, ""), false, NoResourceAllows},
		{"nobody knows who, and the function allows everybody", Principal{}, "", "", open(`"*"`, ""), false, Allowed},
		{"nobody knows who, and the function allows an account", Principal{}, "", "", open(`{"AWS":"111111111111"}`, ""), false, NoResourceAllows},
		{"a session within its limits", run, allow(`"Action":"*","Resource":"*"`), allow(`"Action":"lambda:*","Resource":"*"`), "", false, Allowed},
		{"a session beyond its limits", run, allow(`"Action":"*","Resource":"*"`), allow(`"Action":"s3:*","Resource":"*"`), "", false, NoSessionAllows},
		{"a session with limits alone", run, "", allow(`"Action":"*","Resource":"*"`), "", false, NoIdentityAllows},
		{"a session beyond its limits that the function names", run, "", allow(`"Action":"s3:*","Resource":"*"`), open(`{"AWS":"arn:aws:sts::111111111111:assumed-role/run/fn"}`, ""), false, Allowed},
		{"a role that trusts nobody", bob, allow(`"Action":"*","Resource":"*"`), "", allow(`"Principal":{"Service":"lambda.amazonaws.com"},"Action":"*"`), true, NoResourceAllows},
		{"a role that trusts the account, whose user may", bob, allow(`"Action":"*","Resource":"*"`), "", allow(`"Principal":{"AWS":"111111111111"},"Action":"*"`), true, Allowed},
		{"a role that trusts the account, whose user may not", bob, "", "", allow(`"Principal":{"AWS":"111111111111"},"Action":"*"`), true, NoIdentityAllows},
		{"a role that trusts root", root, "", "", allow(`"Principal":{"AWS":"111111111111"},"Action":"*"`), true, Allowed},
	} {
		p := Policies{Owner: "111111111111", Trust: c.trust}
		if c.identity != "" {
			p.Identity = []*Policy{policy(t, Identity, c.identity)}
		}
		if c.session != "" {
			p.Session = []*Policy{policy(t, Identity, c.session)}
		}
		kind := Resource
		if c.trust {
			kind = Trust
		}
		if c.resource != "" {
			p.Resource = policy(t, kind, c.resource)
		}
		if d := Decide(c.who, invoke, p); d.Because != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.name, d.Because, c.want, d.Message())
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	ask := Ask{Action: "lambda:InvokeFunction", Resource: fn}
	for because, want := range map[Because]string{
		NoIdentityAllows: "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: lambda:InvokeFunction on resource: " + fn + " because no identity-based policy allows the lambda:InvokeFunction action",
		DeniedByIdentity: "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: lambda:InvokeFunction on resource: " + fn + " with an explicit deny in an identity-based policy",
		NoResourceAllows: "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: lambda:InvokeFunction on resource: " + fn + " because no resource-based policy allows the lambda:InvokeFunction action",
	} {
		if got := (Decision{because, bob.ARN, ask}).Message(); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	in := Context{}
	in.Set("aws:SourceArn", "arn:aws:s3:::photos")
	in.Set("aws:SourceIp", "10.1.2.3")
	in.Set("aws:SecureTransport", "false")
	in.Set("aws:CurrentTime", "2026-11-20T12:00:00Z")
	in.Set("aws:EpochTime", "1795176000")
	in["lambda:layer"] = []string{"a:1", "b:2"}
	for cond, want := range map[string]bool{
		`"StringEquals":{"AWS:SourceArn":"arn:aws:s3:::photos"}`:                         true,
		`"StringEquals":{"aws:SourceArn":"arn:aws:s3:::*"}`:                              false,
		`"StringEquals":{"aws:SourceArn":["x","arn:aws:s3:::photos"]}`:                   true,
		`"StringEquals":{"aws:Nothing":"x"}`:                                             false,
		`"StringEqualsIfExists":{"aws:Nothing":"x"}`:                                     true,
		`"StringNotEquals":{"aws:Nothing":"x"}`:                                          true,
		`"StringNotEquals":{"aws:SourceArn":["x","arn:aws:s3:::photos"]}`:                false,
		`"StringEqualsIgnoreCase":{"aws:SourceArn":"ARN:aws:s3:::Photos"}`:               true,
		`"StringLike":{"aws:SourceArn":"arn:aws:*photo?"}`:                               true,
		`"StringNotLike":{"aws:SourceArn":"arn:aws:*"}`:                                  false,
		`"StringEquals":{"aws:username":"${aws:username}"}`:                              true,
		`"StringLike":{"aws:SourceArn":"arn:aws:s3:::${aws:nothing}*"}`:                  false,
		`"StringLike":{"aws:SourceArn":"arn:aws:s3:::${aws:nothing, 'ph'}*"}`:            true,
		`"StringLike":{"aws:SourceArn":"arn:aws:s3:::${*}"}`:                             false,
		`"ArnLike":{"aws:SourceArn":"arn:aws:s3:::ph*"}`:                                 true,
		`"ArnEquals":{"aws:SourceArn":"arn:aws:*:::photos"}`:                             true,
		`"ArnLike":{"aws:SourceArn":"arn:*:photos"}`:                                     false, // reaches over colons
		`"ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::ph*"}`:                              false,
		`"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}`:                   true,
		`"IpAddress":{"aws:SourceIp":"10.1.2.3"}`:                                        true,
		`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`:                                   false,
		`"Bool":{"aws:SecureTransport":"true"}`:                                          false,
		`"Bool":{"aws:SecureTransport":false}`:                                           true,
		`"DateLessThan":{"aws:CurrentTime":"2026-11-21"}`:                                true,
		`"DateGreaterThan":{"aws:CurrentTime":"2026-11-20T12:00:01Z"}`:                   false,
		`"NumericLessThanEquals":{"aws:EpochTime":1795176000}`:                           true,
		`"NumericGreaterThan":{"aws:EpochTime":"1795176000"}`:                            false,
		`"Null":{"aws:SourceArn":"true"}`:                                                false,
		`"Null":{"aws:Nothing":true}`:                                                    true,
		`"ForAllValues:StringLike":{"lambda:Layer":["a:*","b:*"]}`:                       true,
		`"ForAllValues:StringLike":{"lambda:Layer":"a:*"}`:                               false,
		`"ForAllValues:StringLike":{"lambda:Nothing":"a:*"}`:                             true,
		`"ForAnyValue:StringEquals":{"lambda:Layer":["b:2","c"]}`:                        true,
		`"ForAnyValue:StringNotEquals":{"lambda:Layer":["a:1","b:2"]}`:                   false,
		`"StringEquals":{"aws:SourceArn":"arn:aws:s3:::photos"},"Bool":{"x":"true"}`:     false,
		`"StringEquals":{"aws:SourceArn":"arn:aws:s3:::photos","aws:SourceIp":"nobody"}`: false,
	} {
		p := policy(t, Identity, allow(`"Action":"*","Resource":"*","Condition":{`+cond+`}`))
		if d := Decide(bob, Ask{"a:B", "*", in}, Policies{Identity: []*Policy{p}, Owner: bob.Account}); d.OK() != want {
			t.Errorf("%s: %v, want %v", cond, d.OK(), want)
		}
	}
}

func TestResources(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, arn string
		want         bool
	}{
		{fn, fn, true},
		{fn, fn + ":1", false},
		{fn + ":*", fn, false},
		{fn + ":*", fn + ":live", true},
		{fn + "*", fn + ":live", true},
		{"arn:aws:lambda:*:*:function:one", fn, true},
		{"arn:aws:lambda:*:function:one", fn, false},
		{"arn:*:*:*:*:*", fn, true},
		{"arn:aws:lambda:eu-west-1:111111111111:function:${aws:username}-*", "arn:aws:lambda:eu-west-1:111111111111:function:bob-1", true},
		{"arn:aws:lambda:eu-west-1:111111111111:function:${aws:username}-*", "arn:aws:lambda:eu-west-1:111111111111:function:eve-1", false},
		{fn, "*", false}, // an action without a resource is allowed by * alone
		{"*", "*", true},
	} {
		p := policy(t, Identity, allow(`"Action":"*","Resource":"`+c.pattern+`"`))
		if d := Decide(bob, Ask{"a:B", c.arn, nil}, Policies{Identity: []*Policy{p}, Owner: bob.Account}); d.OK() != c.want {
			t.Errorf("%s covers %s: %v", c.pattern, c.arn, d.OK())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]Kind{
		``: Identity, `[]`: Identity, `{}`: Identity,
		`{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`: Identity,
		`{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`:                        Identity,
		`{"Statement":[{"Effect":"Allow","Resource":"*"}]}`:                                     Identity,
		`{"Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}`:                         Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}]}`:        Identity,
		`{"Statement":[{"Effect":"Allow","Action":"Invoke","Resource":"*"}]}`:                   Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`:                                       Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"one"}]}`:                      Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Resources":"*"}]}`:        Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}`:        Identity,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]} {}`:                     Identity,
		allow(`"Action":"*","Resource":"*","Condition":{"StringIs":{"a":"b"}}`):                 Identity,
		allow(`"Action":"*","Resource":"*","Condition":{"Bool":{"a":"yes"}}`):                   Identity,
		allow(`"Action":"*","Resource":"*","Condition":{"IpAddress":{"a":"10.0.0.0/33"}}`):      Identity,
		allow(`"Action":"*","Resource":"*","Condition":{"StringEquals":{"a":{"b":"c"}}}`):       Identity,
		allow(`"Action":"*","Resource":"*"`):                                                    Resource,
		allow(`"Action":"*","Resource":"*","Principal":{"AWS":"arn:aws:iam::1:user/*"}`):        Resource,
		allow(`"Action":"*","Resource":"*","NotPrincipal":"*"`):                                 Resource,
		allow(`"Action":"sts:AssumeRole","Resource":"*","Principal":"*"`):                       Trust,
		allow(`"Action":"*","Resource":"` + strings.Repeat("*", MaxPolicyBytes) + `"`):          Identity,
	} {
		if _, err := Parse([]byte(text), kind); err == nil {
			t.Errorf("%.200s was read", text)
		}
	}
}

// A document that is read at all never panics, and allows nobody what an explicit deny of everything denies.
func FuzzPolicy(f *testing.F) {
	f.Add(allow(`"Action":"lambda:*","Resource":"arn:aws:lambda:*:*:function:${aws:username}*","Condition":{"StringLike":{"aws:SourceArn":"*?*"}}`), "lambda:InvokeFunction", fn)
	f.Add(allow(`"NotAction":"**?**","NotResource":"arn:::::","Condition":{"ForAllValues:ArnLike":{"a":["${a,'b'}"]},"DateEquals":{"b":"1"}}`), "a:b", "*")
	f.Fuzz(func(t *testing.T, text, action, resource string) {
		p, err := Parse([]byte(text), Identity)
		if err != nil {
			return
		}
		in := Context{"aws:sourcearn": {resource}, "a": {action, resource}}
		Decide(bob, Ask{action, resource, in}, Policies{Identity: []*Policy{p}, Owner: bob.Account})
		deny := Statement{Deny: true, Actions: []string{"*"}, Resources: []string{"*"}}
		p.Statements = append(p.Statements, deny)
		if d := Decide(bob, Ask{action, resource, in}, Policies{Identity: []*Policy{p}, Owner: bob.Account}); d.OK() {
			t.Fatalf("allowed in spite of a deny: %q", text)
		}
	})
}

// A pattern made of a text alone matches that text and no other.
func FuzzPattern(f *testing.F) {
	f.Add("a*b?c", "axxbxc")
	f.Add("***?", "é")
	f.Fuzz(func(t *testing.T, p, s string) {
		pattern, ok := compile(p, nil)
		if !ok || !strings.ContainsAny(p, "*?") && pattern.matches(s) != (string([]rune(p)) == string([]rune(s))) {
			t.Fatalf("%q %q", p, s)
		}
		all, _ := compile("*"+p+"*", nil)
		if pattern.matches(s) && !all.matches("x"+s+"y") {
			t.Fatalf("*%q* does not match x%qy", p, s)
		}
		pattern.matchesARN(s)
	})
}
