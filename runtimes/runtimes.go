// Package runtimes knows, for every runtime identifier of the API, which interpreter and which client serve it, where they come
// from, and what to type when they are missing.
//
// An interpreter is the host's, or one that was fetched into the data folder. A client is ours (Node, embedded in this
// binary), or AWS's own, unchanged (Python, Java). AWS's SDK stands behind the function's own packages (Node, Python).
// OS-only runtimes (provided.*) have none of these: their functions bring a bootstrap.
//
// Provide fetches what a runtime lacks, in the versions of lock.txt, from the registries that the host is configured to
// use. Its fetches are goroutines of the Registry that end with the last caller who waits for them.
//
// Ask the Registry for a Plan at every start of an environment: it is cheap (a few stat calls), and it follows what was installed or
// upgraded meanwhile.
package runtimes

import (
	"fmt"
	"maps"

	"thaw/sandbox"
)

// Plan is how to run functions of one runtime: what to mount and what to start. Paths are paths inside the sandbox.
//
// A backend without mounts (sandbox.Capabilities.Mounts false) needs host paths instead: every element of what Command returns, and
// every element of the ':'-separated lists in the variables of PathLists, is a plain path when it begins with '/', to be given
// through sandbox.Translate. No other element begins with '/'.
//
// A Plan is shared: nobody may change its slices and maps.
type Plan struct {
	Identifier string   // nodejs22.x
	Release    string   // nodejs:22.v1, for the INIT_START line
	Argv       []string // empty for OS-only runtimes: Candidates are searched. Command completes it
	Candidates []string // bootstrap search order; only with empty Argv
	Mounts     []sandbox.Mount
	// Vars are the platform's unreserved defaults that a customer may override (PATH, LANG, TZ, NODE_PATH ...), and Reserved the
	// runtime's own that he may not (AWS_EXECUTION_ENV ...). Names and values as recorded from the service where that makes sense.
	Vars     map[string]string
	Reserved map[string]string
	// MemoryArgv, when set, gives the arguments that depend on the memory size in MiB (a heap limit); they stand behind Argv[0].
	MemoryArgv func(memoryMiB int) []string
	// SnapStartArgv are further arguments of a process that will be saved; they stand behind Argv[0], too. Node and Java load with them
	// what makes copies of one snapshot draw different random values.
	SnapStartArgv []string
	// SeedArgv and SeedVars, when set, fix by a secret what the interpreter would draw for its own tables and addresses: what processes of one function leave
	// in memory differs less then. A customer may override the variables.
	SeedArgv       func(secret []byte) []string
	SeedVars       func(secret []byte) map[string]string
	HandlerArgv    bool   // the client takes the handler as its last argument instead of from _HANDLER
	LogFrames      bool   // the client writes framed records to _LAMBDA_TELEMETRY_LOG_FD
	APISocket      bool   // the client takes a connected socket besides AWS_LAMBDA_RUNTIME_API: ours alone
	Identity       string // changes whenever any file above changes: part of a snapshot's key
	ParksInRestore bool   // the client calls restore/next under SnapStart
}

// PathLists are the variables of Vars that hold ':'-separated lists of paths. TZ also begins with a colon and is none.
var PathLists = []string{"PATH", "LD_LIBRARY_PATH", "NODE_PATH", "PYTHONPATH"}

// Command is the whole command line for a function: Argv, completed by what depends on memory size and handler, and run by wrapper
// (the value of the customer's AWS_LAMBDA_EXEC_WRAPPER; empty: none). It is nil for OS-only runtimes, which know no wrapper either.
//
// A wrapper that does not exist ends as it does on the service, where a shell runs it: exit status 127.
// Source: AWS Lambda Developer Guide, "Modifying the runtime environment", wrapper scripts; exit status as recorded.
func (p Plan) Command(memoryMiB int, handler, wrapper string) []string {
	return p.command(memoryMiB, handler, wrapper, nil)
}

// CommandSnapStart is Command for a process of which a snapshot will be made (AWS_LAMBDA_INITIALIZATION_TYPE=snap-start). It is for
// backends that can take snapshots: a path in it may stand behind a prefix (-javaagent:/var/runtime/...), where none is translated.
// secret is for SeedArgv: 32 bytes, or nil for none.
func (p Plan) CommandSnapStart(memoryMiB int, handler, wrapper string, secret []byte) []string {
	further := p.SnapStartArgv
	if p.SeedArgv != nil && secret != nil {
		further = append(p.SeedArgv(secret), further...)
	}
	return p.command(memoryMiB, handler, wrapper, further)
}

// VarsSnapStart is Vars for such a process.
func (p Plan) VarsSnapStart(secret []byte) map[string]string {
	if p.SeedVars == nil {
		return p.Vars
	}
	vars := maps.Clone(p.Vars)
	maps.Copy(vars, p.SeedVars(secret))
	return vars
}

func (p Plan) command(memoryMiB int, handler, wrapper string, further []string) []string {
	if len(p.Argv) == 0 {
		return nil
	}
	var argv []string
	if wrapper != "" {
		argv = append(argv, "/bin/sh", "-c", `exec "$@"`, "bootstrap", wrapper)
	}
	argv = append(argv, p.Argv[0])
	if p.MemoryArgv != nil {
		argv = append(argv, p.MemoryArgv(memoryMiB)...)
	}
	argv = append(argv, further...)
	argv = append(argv, p.Argv[1:]...)
	if p.HandlerArgv {
		argv = append(argv, handler)
	}
	return argv
}

// NotInstalledError says that a runtime identifier is known but cannot run here now.
type NotInstalledError struct {
	Identifier string
	Missing    string // what is missing: "Node.js 22"
	Install    string // what to type: "thaw runtime install nodejs22.x"; empty when nothing helps
	Hint       string // why nothing can be typed, and what helps then; may be empty
}

func (e *NotInstalledError) Error() string {
	switch {
	case e.Install == "" && e.Hint != "":
		return fmt.Sprintf("runtime %s cannot run here: %s is missing; %s", e.Identifier, e.Missing, e.Hint)
	case e.Install == "":
		return fmt.Sprintf("runtime %s cannot run here: %s is missing", e.Identifier, e.Missing)
	}
	return fmt.Sprintf("runtime %s is not installed: %s is missing; type: %s", e.Identifier, e.Missing, e.Install)
}

// UnknownError says that an identifier is none of the API's.
type UnknownError struct{ Identifier string }

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown runtime %q", e.Identifier) }
