package function

// RuntimeUpdates says when the runtime of a version changes. It is kept for the customer's tools: runtimes change here
// with the server. It is stored: members may be added, never renamed.
type RuntimeUpdates struct {
	On                string // Auto, FunctionUpdate, Manual
	RuntimeVersionARN string `json:",omitempty"` // with Manual
}

// Scaling says between which numbers of environments a version is kept. It is kept for the customer's tools, and has no
// effect. It is stored: members may be added, never renamed.
type Scaling struct {
	Min, Max *int `json:",omitempty"`
}
