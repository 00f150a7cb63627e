// Package launch is how the server speaks to its launcher: the one process that is parent to every gVisor sandbox.
//
// gVisor's library makes its caller part of the sandbox's making: it passes on the caller's standard streams, changes the caller's
// resource limits, marks all its descriptors, mounts into its mount namespace, and ties the sandbox to the thread that forked it. So none of it runs
// in the server. A launcher does it, in a mount namespace of its own: whatever it mounts is invisible to the host and gone with it.
//
//	server --- SOCK_SEQPACKET ---> thaw-sandbox launch ---> runsc-sandbox, runsc-gofer (children, one pair per sandbox)
//
// The launcher ends when the server's end of the socket closes, and the kernel ends its children with it. That holds when the server
// is killed, too.
//
// While it forks a sandbox it is in that sandbox's cgroups: nobody may kill or freeze them before it has answered.
//
// Each request and each reply is one packet of JSON; descriptors travel beside it. Replies come in any order.
package launch

import "thaw/sandbox"

// Descriptors that the launcher finds open when it starts.
const (
	SocketFD = 3 // the launcher's end of the socket
	RunFD    = 4 // folder for gVisor's own state and control sockets; used as /proc/self/fd/4, for socket paths are short
	LockFD   = 5 // the lock of the data folder: held until the last of server and launcher is gone
)

// AgentFD is the number under which gVisor is given the agent's socket, as if for the guest. The sandbox's process takes it away before gVisor sees it.
const AgentFD = 1000

// ControlFD is the same for the socket by which the server stops and continues the sandbox's tasks.
const ControlFD = 1001

// StreamFD is the number under which the guest finds its stream.
const StreamFD = 3

// Mark is a point that a restore has passed: seconds since OpGive, of wall clock and of the sandbox's processor time.
type Mark struct {
	Name string  `json:"name"`
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
}

// MaxPacket bounds a request or a reply, in bytes.
const MaxPacket = 128 << 10

// Op says what is asked.
type Op string

// The steps of a sandbox's life that need the launcher. Create leaves a sandbox that has not started: Start starts it, and a
// restore from a snapshot would take its place.
const (
	OpCreate  Op = "create"
	OpStart   Op = "start"
	OpBind    Op = "bind"
	OpDestroy Op = "destroy"

	// A restore, in place of OpStart. Arm: everything that is common to all restores; the reply comes when the sandbox waits for a
	// snapshot. Give: a snapshot's files; its pages begin to load. Run: its kernel loads; the reply comes when the guest runs.
	OpArm  Op = "arm"
	OpGive Op = "give"
	OpRun  Op = "run"
	// Save writes a snapshot, and the sandbox ends; beside the request travel the files for state, pages_meta and
	// pages, and a scratch file, all empty.
	OpSave Op = "save"
	// Trim has a restored sandbox give back memory that it does not need any more, and the launcher learn what it touched first.
	OpTrim Op = "trim"
)

// Request is one packet to the launcher.
type Request struct {
	Seq    uint64          `json:"seq"`
	Op     Op              `json:"op"`
	ID     string          `json:"id"`
	Create *Create         `json:"create,omitempty"`
	Root   string          `json:"root,omitempty"`   // OpBind: host folder that is the sandbox's root
	Mounts []sandbox.Mount `json:"mounts,omitempty"` // OpBind, OpRun

	Key      string `json:"key,omitempty"`      // OpGive, OpSave: see sandbox.Capabilities.SnapshotKey
	Progress bool   `json:"progress,omitempty"` // OpGive: a fourth descriptor tells how much of the pages has arrived
	Baseline int64  `json:"baseline,omitempty"` // OpSave
	Last     bool   `json:"last,omitempty"`     // OpTrim: it is not asked again
}

// Create is the rest of an OpCreate. Beside it travel, in this order: the read end of stdin, the write end of stdout
// and stderr, the guest's end of its stream, the sandbox's end of the control socket, and, with Network, the network
// namespace.
type Create struct {
	Bundle   string   `json:"bundle"`           // absolute; holds config.json
	Shared   string   `json:"shared"`           // folder that becomes a shared mount; the root of the sandbox lies in it
	Network  bool     `json:"net"`              // false: loopback only
	Groups   []string `json:"groups,omitempty"` // cgroup.procs files of the groups to be born into: the launcher enters them to fork
	Home     []string `json:"home,omitempty"`   // the same of its own groups, to go back to
	Debug    string   `json:"debug,omitempty"`  // folder for gVisor's debug logs; empty: none
	Attached bool     `json:"attach,omitempty"` // end the sandbox with the launcher; always set by the server
}

// Reply answers one request.
type Reply struct {
	Seq     uint64 `json:"seq"`
	Err     string `json:"err,omitempty"`
	Sandbox int    `json:"pid,omitempty"` // OpCreate: process ids as the host sees them
	Gofer   int    `json:"gofer,omitempty"`

	Stage    string `json:"stage,omitempty"`    // of a sandbox.SnapshotError
	Baseline int64  `json:"baseline,omitempty"` // OpGive: as it was given to OpSave
	Marks    []Mark `json:"marks,omitempty"`    // OpRun
	AsSaved  string `json:"as_saved,omitempty"` // OpSave: why the kernel was not written anew, and its size; the snapshot is good all the same
}
