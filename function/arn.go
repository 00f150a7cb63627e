package function

import "strings"

// ARN names a function, or with a qualifier behind it one of its versions or aliases:
// arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER].
type ARN string

// ARN is the unqualified ARN of a function.
func (k Key) ARN(partition string) ARN {
	return ARN("arn:" + partition + ":lambda:" + k.Region + ":" + k.Account + ":function:" + k.Name)
}

// Name is the name of the function.
func (a ARN) Name() string {
	parts := strings.SplitN(string(a), ":", 8)
	if len(parts) < 7 {
		return ""
	}
	return parts[6]
}

// Qualified is an unqualified ARN with a qualifier; the ARN itself where that is empty.
func (a ARN) Qualified(q Qualifier) ARN {
	if q == "" {
		return a
	}
	return a + ":" + ARN(q)
}

// Unqualified is the ARN of the function itself.
func (a ARN) Unqualified() ARN {
	if q := a.Qualifier(); q != "" {
		return a[:len(a)-len(q)-1]
	}
	return a
}

// Version is an unqualified ARN with a version's number.
func (a ARN) Version(n VersionNumber) ARN { return a + ":" + ARN(n) }

// Qualifier is what follows the name; empty: nothing.
func (a ARN) Qualifier() Qualifier {
	rest := string(a)
	for range 7 {
		_, behind, found := strings.Cut(rest, ":")
		if !found {
			return ""
		}
		rest = behind
	}
	return Qualifier(rest)
}
