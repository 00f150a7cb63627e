//go:build !amd64

package agent

// seccompPrograms is empty: gen has to run on the architecture itself, and until it has, sandboxes compile their filter.
var seccompPrograms []byte
