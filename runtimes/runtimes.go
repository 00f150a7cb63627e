// Package runtimes knows, for every runtime identifier of the API, which interpreter and which client serve it, where they come
// from, and what to type when they are missing.
package runtimes

import (
	"fmt"

	"thaw/sandbox"
)

// Plan is how to run functions of one runtime: what to mount and what to start. Paths are paths inside the sandbox.
type Plan struct {
	Identifier string   // nodejs22.x
	Release    string   // nodejs:22.v1, for the INIT_START line
	Argv       []string // empty for OS-only runtimes: Candidates are searched
	Candidates []string // bootstrap search order; only with empty Argv
	Mounts     []sandbox.Mount
	// Vars are the platform's unreserved defaults that a customer may override (PATH, LANG, TZ, NODE_PATH ...), and Reserved the
	// runtime's own that he may not (AWS_EXECUTION_ENV ...). Names and values as recorded from the service where that makes sense.
	Vars     map[string]string
	Reserved map[string]string
	// MemoryVars, when set, adds variables that depend on the memory size in MiB (a JVM's heap).
	MemoryArgv     func(memoryMiB int) []string
	LogFrames      bool   // the client writes framed records to _LAMBDA_TELEMETRY_LOG_FD
	Identity       string // changes whenever any file above changes: part of a snapshot's key
	ParksInRestore bool   // the client calls restore/next under SnapStart
}

// NotInstalledError says that a runtime identifier is known but cannot run here now.
type NotInstalledError struct {
	Identifier string
	Missing    string // what is missing: "Node.js 22"
	Install    string // what to type: "thaw runtime install nodejs22.x"
}

func (e *NotInstalledError) Error() string {
	return fmt.Sprintf("runtime %s is not installed: %s is missing; type: %s", e.Identifier, e.Missing, e.Install)
}

// UnknownError says that an identifier is none of the API's.
type UnknownError struct{ Identifier string }

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown runtime %q", e.Identifier) }
