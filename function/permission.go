package function

// Permission is one statement of a function's resource policy: somebody else may do something with the function, or with
// one of its versions or aliases. It is stored: members may be added, never renamed. Exactly one of Service, Principal and
// Anybody says who.
type Permission struct {
	ID      string // of the statement; unique within a policy
	Service string `json:",omitempty"` // events.amazonaws.com
	// Principal is the ARN of a user, a role, or of the root of an account, which stands for all of it.
	Principal string `json:",omitempty"`
	Anybody   bool   `json:",omitempty"`
	Action    string // lambda:InvokeFunction, lambda:*, *

	// Conditions. Those that are set must all hold.
	SourceARN     string `json:",omitempty"` // may have wildcards
	SourceAccount string `json:",omitempty"` // 12 digits
	EventToken    string `json:",omitempty"`
	Organisation  string `json:",omitempty"` // o-...
	URLAuthType   string `json:",omitempty"` // NONE, AWS_IAM
	ViaURL        *bool  `json:",omitempty"`
}
