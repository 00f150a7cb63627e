// Package wire is all that the server and the guest share: the messages on the one stream between them.
//
// # The stream
//
// A sandbox has exactly one stream to the server, file descriptor 3 of the guest. Its host end is new after every
// restore, so nothing may be assumed about bytes in flight across a snapshot: the host sends Quiesce, the guest answers
// Quiesced as its last frame, and the first frame after a restore is the host's Restored.
//
// # A frame
//
//	0        4      5                5+head            4+length
//	+--------+------+------+---------+-----------------+
//	| length | kind | head | head... | body ...        |     length, head: big-endian
//	|  u32   |  u8  | u32  | JSON    | bytes, as given |
//	+--------+------+------+---------+-----------------+
//
// length counts everything after itself. The head is the JSON of the message struct, which may be empty; the body
// is a payload that neither side parses. A frame whose numbers do not fit each other, or exceed MaxFrame, ends the stream: a
// peer that cannot count cannot be trusted with the next frame.
//
// # Who says what
//
//	host -> guest   Start Invoke Kill Quiesce Restored Credentials Credit OutOfMemory Ping Exit LogCredit Platform
//	guest -> host   Hello Started Ready InitError RestoreError Response Error StreamHead StreamChunk StreamEnd
//	                Exited Log Killed Quiesced Pong Fault SnapshotNote RuntimeDone Extension Subscribed Segment
//
// Messages about a generation of processes (everything between a Start and its Killed) carry that generation, so that
// what an earlier one said late is recognised and dropped.
package wire

import "bytes"

// Version is compared by both ends in Hello; server and guest are built together, so a mismatch is a broken installation.
const Version = 1

// Limits of a frame's parts, in bytes.
const (
	// MaxPayload bounds an event and a buffered response: 6 MB and the 100 bytes that the service grants on top.
	MaxPayload = 6*1024*1024 + 100
	// MaxFrame bounds everything after the length field: a payload, a head and room for headers.
	MaxFrame = MaxPayload + 1<<20
	// MaxChunk is the largest body of a StreamChunk or Log frame that a sender makes; a Log frame that holds one long line may
	// have MaxLogEvent.
	MaxChunk = 64 << 10
	// MaxLogEvent is the largest log event. Longer lines and framed records come in pieces, each a Log frame of its own whose body does not
	// end in a newline, but for the last. Source: Amazon CloudWatch Logs quotas: 256 KiB less 26 bytes.
	MaxLogEvent = 256<<10 - 26
	// StreamWindow is how many bytes of a streamed response the guest may send before the first Credit.
	StreamWindow = 1 << 20
	// LogWindow is how much output, in units of LogCost, the guest may send before the first LogCredit. It is small,
	// because every environment may have as much on its way at once, and larger than what a usual invoke prints, so
	// that this one waits for nothing.
	LogWindow = 256 << 10
)

// Kind says what a frame is.
type Kind uint8

// Host to guest.
const (
	KindStart       Kind = 1  // Start: run the runtime
	KindInvoke      Kind = 2  // Invoke + event
	KindKill        Kind = 3  // Kill: end every process of the generation, answer Killed
	KindQuiesce     Kind = 4  // answer Quiesced and say nothing more until Restored
	KindRestored    Kind = 5  // Restored: first frame on a new host end
	KindCredentials Kind = 6  // Credentials: what the credentials endpoint serves from now on
	KindCredit      Kind = 7  // Credit: more bytes of a streamed response are welcome
	KindOutOfMemory Kind = 8  // empty: the memory limit is reached, kill the runtime as the kernel would, and say so
	KindPing        Kind = 9  // Ping: answer Pong (proof of life)
	KindExit        Kind = 10 // kill everything and exit
	KindLogCredit   Kind = 11 // LogCredit: more output is welcome
	KindPlatform    Kind = 12 // Platform + JSON of the event: for those who subscribed to telemetry
)

// Guest to host.
const (
	KindHello        Kind = 64 // Hello: the guest is up
	KindStarted      Kind = 65 // Started: the runtime process runs
	KindReady        Kind = 66 // Ready: the runtime is parked in a next call
	KindInitError    Kind = 67 // ErrorHead + body: runtime posted init/error
	KindRestoreError Kind = 68 // ErrorHead + body: runtime posted restore/error (or init/error while restoring)
	KindResponse     Kind = 69 // ResponseHead + body: a complete buffered response
	KindError        Kind = 70 // ErrorHead + body: runtime posted invocation/error, or the guest refused the response (Refused)
	KindStreamHead   Kind = 71 // ResponseHead: a streamed response begins
	KindStreamChunk  Kind = 72 // StreamChunk + bytes
	KindStreamEnd    Kind = 73 // StreamEnd
	KindExited       Kind = 74 // Exited: the runtime process ended
	KindLog          Kind = 75 // LogHead + bytes
	KindKilled       Kind = 76 // Killed: no process of the generation is left
	KindQuiesced     Kind = 77
	KindPong         Kind = 78 // Ping as received
	KindFault        Kind = 79 // Fault: the guest itself could not do what was asked
	KindSnapshotNote Kind = 80 // SnapshotNote: what the function says about the snapshot that is about to be made
	KindRuntimeDone  Kind = 81 // RuntimeDone: the runtime called next, extensions have not
	KindExtension    Kind = 82 // Extension: one was launched, registered, or moved otherwise
	KindSubscribed   Kind = 83 // Subscribed: an extension wants telemetry
	KindSegment      Kind = 84 // Segment + datagram: something sent it to the daemon of X-Ray; an empty one only says what was dropped
)

// Start asks for a new generation of processes.
type Start struct {
	Generation uint64   `json:"gen"`
	Argv       []string `json:"argv"`           // resolved by the host; Argv[0] is a path inside the sandbox
	Candidates []string `json:"cand,omitempty"` // when Argv is empty: the first that exists and is no directory is run (bootstrap search)
	Vars       []string `json:"vars"`           // KEY=value; the guest adds AWS_LAMBDA_RUNTIME_API and, under SnapStart, the credentials pair
	Dir        string   `json:"dir"`            // working directory; must exist (Runtime.InvalidWorkingDir)
	UID        int      `json:"uid"`            // -1: keep the guest's own (process sandbox)
	GID        int      `json:"gid"`
	SnapStart  bool     `json:"snap,omitempty"`   // restore/next and restore/error exist
	Priming    bool     `json:"prime,omitempty"`  // priming invokes come before the snapshot: their output is sent before their answers
	NoFile     uint64   `json:"nofile,omitempty"` // RLIMIT_NOFILE, soft and hard; 0 leaves it
	NProc      uint64   `json:"nproc,omitempty"`
	TmpBytes   int64    `json:"tmp,omitempty"`     // size limit of /tmp, where the guest makes it (Hello.MakesTmp); 0 leaves /tmp alone
	LogFrames  bool     `json:"frames,omitempty"`  // give the runtime a framed log descriptor (_LAMBDA_TELEMETRY_LOG_FD)
	APISocket  bool     `json:"apisock,omitempty"` // give the runtime a connection to the API besides (_THAW_RUNTIME_API_FD)
	LogWindow  int64    `json:"logwin,omitempty"`  // LogWindow: what is written waits in its pipe until the log has room for it; 0: it never waits
	APIHost    string   `json:"api,omitempty"`     // host:port to listen on; empty: 127.0.0.1 and any free port (process sandbox)
	XRayHost   string   `json:"xray,omitempty"`    // host:port where datagrams for the daemon of X-Ray are taken; empty: as APIHost
	Segments   bool     `json:"segs,omitempty"`    // those datagrams are wanted; otherwise they are taken and forgotten
	Layout     []byte   `json:"layout,omitempty"`  // LayoutBytes of a secret from which the sandbox's kernel places memory; empty: by chance
	Opt        string   `json:"opt,omitempty"`     // folder of layers: external extensions are the files of its extensions folder; empty: there is none
	Function   Function `json:"fn"`                // for those who register
	LogsJSON   bool     `json:"logjson,omitempty"` // the function logs JSON: what is JSON reaches telemetry as it is
	First      Platform `json:"first,omitzero"`    // an event whose JSON is the body: telemetry has it before anything that the runtime does
	Credentials
}

// Function is what an extension is told about the function when it registers.
type Function struct {
	Name      string `json:"functionName"`
	Version   string `json:"functionVersion"`
	Handler   string `json:"handler"`
	AccountID string `json:"accountId,omitempty"`
}

// LayoutBytes is the size of Start.Layout.
const LayoutBytes = 32

// PrctlLayout is the option of prctl by which a guest hands Start.Layout to the sandbox's kernel: pointer and size follow. Only our gVisor knows it, and
// only from process 1.
const PrctlLayout = 0x74686177

// Credentials are what GET /2021-04-23/credentials answers. Empty AccessKeyID: nothing to serve (404).
type Credentials struct {
	AccessKeyID     string `json:"akid,omitempty"`
	SecretAccessKey string `json:"secret,omitempty"`
	SessionToken    string `json:"token,omitempty"`
	ExpirationUnix  int64  `json:"exp,omitempty"` // seconds
}

// Invoke is one attempt of one invocation; the event is the frame's body.
type Invoke struct {
	RequestID       string `json:"id"`
	InvocationID    string `json:"nonce"` // unique per attempt
	DeadlineUnixMs  int64  `json:"deadline"`
	FunctionARN     string `json:"arn"` // as invoked, with its qualifier
	TraceID         string `json:"trace,omitempty"`
	ClientContext   string `json:"cc,omitempty"` // JSON text, already decoded
	CognitoIdentity string `json:"cognito,omitempty"`
	TenantID        string `json:"tenant,omitempty"`
	ContentType     string `json:"ct,omitempty"` // empty: application/json
	// Priming: it comes before the snapshot; what the runtime may call after it is what it may call during Init.
	Priming bool `json:"prime,omitempty"`
}

// Kill ends a generation. With a budget, SIGTERM comes first for the runtime, which has RuntimeMs of it, then SHUTDOWN
// for the extensions that want it; what is left after BudgetMs is killed, and without a budget everything at once. The
// answer is Killed.
type Kill struct {
	Generation uint64 `json:"gen"`
	BudgetMs   int64  `json:"budget,omitempty"`
	RuntimeMs  int64  `json:"runtime,omitempty"`
	Reason     string `json:"reason,omitempty"` // SPINDOWN, TIMEOUT, FAILURE
}

// Platform goes with the JSON of an event of guest/platform.
type Platform struct {
	UnixMicros int64  `json:"us"`
	Type       string `json:"type"`
}

// Restored is the first frame a restored guest reads.
type Restored struct {
	UnixNanos int64    `json:"now"`            // the host's wall clock
	Entropy   []byte   `json:"entropy"`        // 64 bytes of the host's randomness, different for every restore
	EnvID     string   `json:"env"`            // of the environment that this copy is from now on
	Segments  bool     `json:"segs,omitempty"` // as Start's: the snapshot may be another server's
	First     Platform `json:"first,omitzero"` // as Start's
	Credentials
}

// Segment goes with a datagram. Dropped is how many came since the last frame for which there was no room.
type Segment struct {
	Dropped int64 `json:"drop,omitempty"`
}

// MaxSegment is the largest datagram that UDP over IPv4 carries.
const MaxSegment = 65_507

// Credit lets the guest send Bytes more of the streamed response of RequestID.
type Credit struct {
	RequestID string `json:"id"`
	Bytes     int64  `json:"n"`
}

// LogCredit lets the guest send that much more output. The first frame after a restore is worth a whole window.
type LogCredit struct {
	Cost int64 `json:"n"`
}

// logEventCost is what a log event costs beside its bytes: in memory, a short line is mostly this.
const logEventCost = 128

// LogCost is what the body of a Log frame counts against the window. Both ends must come to the same.
func LogCost(body []byte) int64 {
	return int64(len(body)) + logEventCost*int64(max(1, bytes.Count(body, []byte("\n"))))
}

// Ping and its echo, Pong.
type Ping struct {
	Seq uint64 `json:"seq"`
}

// Hello is the guest's first frame.
type Hello struct {
	Version  int  `json:"v"`
	PID      int  `json:"pid"`
	MakesTmp bool `json:"tmp,omitempty"` // the guest mounts /tmp itself, with Start.TmpBytes
}

// Started says that the runtime process of a generation exists.
type Started struct {
	Generation uint64 `json:"gen"`
	APIHost    string `json:"api"` // where the Runtime API listens
}

// NextKind says which call the runtime is parked in.
type NextKind string

// The two calls.
const (
	NextInvocation NextKind = "invocation"
	NextRestore    NextKind = "restore"
)

// Ready says that the runtime is parked in a next call. All output that it wrote before the call has been sent before.
// The first Ready of a generation ends Init; a later one ends the invocation named by RequestID; after Restored it ends the restore.
type Ready struct {
	Generation uint64   `json:"gen"`
	Next       NextKind `json:"next"`
	RequestID  string   `json:"id,omitempty"` // of the invocation that this call ends
	RuntimeUs  int64    `json:"rt,omitempty"` // how long before this the runtime called next, where extensions took longer
	UserAgent  string   `json:"ua,omitempty"` // first Ready of a generation only: the runtime release, at most 128 bytes
}

// RuntimeDone says that the runtime called next after an invocation while extensions are still at it, where somebody
// has subscribed to hear it now; Ready follows when they have called next, too, and says it otherwise. All output that
// was written before the call has been sent before.
type RuntimeDone struct {
	Generation uint64 `json:"gen"`
	RequestID  string `json:"id"`
}

// Extension says where an extension stands. State is a name of guest/readiness.
type Extension struct {
	Generation uint64   `json:"gen"`
	Name       string   `json:"name"`
	Internal   bool     `json:"int,omitempty"`
	State      string   `json:"state"`
	Events     []string `json:"events"`
	ErrorType  string   `json:"type,omitempty"` // that it reported, or of its launch
}

// Subscribed says that an extension subscribed to the Telemetry API, or to the Logs API.
type Subscribed struct {
	Generation uint64   `json:"gen"`
	Name       string   `json:"name"`
	Logs       bool     `json:"logs,omitempty"`
	Again      bool     `json:"again,omitempty"` // it had subscribed before
	Restored   bool     `json:"old,omitempty"`   // it did so before the snapshot: the host did not know
	Types      []string `json:"types"`
}

// ErrorHead goes with the body of an error that the runtime posted, or that the guest made of a refused response.
type ErrorHead struct {
	Generation  uint64 `json:"gen"`
	RequestID   string `json:"id,omitempty"`
	ErrorType   string `json:"type"` // filtered: Runtime.X, Function.X
	ContentType string `json:"ct,omitempty"`
	XRayCause   string `json:"xray,omitempty"`    // JSON, at most 64 KiB
	Refused     bool   `json:"refused,omitempty"` // made by the guest: response too large, truncated, bad mode; the body is the invoker's
}

// ResponseHead goes with a buffered response, or begins a streamed one.
type ResponseHead struct {
	Generation  uint64 `json:"gen"`
	RequestID   string `json:"id"`
	ContentType string `json:"ct,omitempty"`
}

// StreamChunk goes with bytes of a streamed response.
type StreamChunk struct {
	RequestID string `json:"id"`
}

// StreamEnd ends a streamed response. Empty ErrorType: complete.
type StreamEnd struct {
	Generation uint64 `json:"gen"`
	RequestID  string `json:"id"`
	ErrorType  string `json:"type,omitempty"` // from the trailer (filtered), or Runtime.TruncatedResponse
	ErrorBody  []byte `json:"body,omitempty"` // from the trailer, decoded
}

// Exited says that the process of the runtime, or of an external extension, ended by itself (not by Kill), or that an extension
// reported an error and did not go. All its output has been sent before.
type Exited struct {
	Generation  uint64 `json:"gen"`
	Extension   string `json:"ext,omitempty"`    // name; empty: the runtime
	ErrorType   string `json:"type,omitempty"`   // of an extension: Extension.Crash, .LaunchError, .InitError, .ExitError
	Code        int    `json:"code"`             // -1 when ended by a signal
	Signal      int    `json:"signal,omitempty"` // signal number
	OutOfMemory bool   `json:"oom,omitempty"`    // ended by us on KindOutOfMemory
	Processes   int    `json:"procs,omitempty"`  // that there were then, but for the guest; 0: not known
	LaunchError string `json:"launch,omitempty"` // it never ran: Runtime.InvalidEntrypoint, Runtime.InvalidWorkingDir
	LaunchText  string `json:"text,omitempty"`
	Starved     bool   `json:"starved,omitempty"` // it never ran for want of what the sandbox gives (memory, processes, descriptors), not by the function's doing
}

// Reason is the sentence that AWS puts behind "Error: " for this exit.
// Source: recordings of the real service; Go-style signal names.
func (e Exited) Reason() string { return exitReason(e) }

// LogSource says which descriptor a record came from.
type LogSource string

// The three ways out of the runtime, and the one out of an extension.
const (
	LogStdout    LogSource = "stdout"
	LogStderr    LogSource = "stderr"
	LogFrame     LogSource = "frame" // one complete framed record
	LogExtension LogSource = "extension"
)

// LogHead goes with one or more lines of output; each ends in a newline, except the last of a process that died in mid-line.
// A framed record is one message and may contain newlines.
type LogHead struct {
	Source     LogSource `json:"src"`
	UnixMicros int64     `json:"us"`              // when the guest read it, or the frame's own time
	Level      string    `json:"level,omitempty"` // frames only: TRACE ... FATAL
	JSON       bool      `json:"json,omitempty"`  // frames only: the record is JSON
}

// Killed says that no process of the generation is left.
type Killed struct {
	Generation uint64 `json:"gen"`
	Left       int    `json:"left,omitempty"` // processes that did not go within two seconds; the environment must be discarded
}

// SnapshotNote says one of two things: when what the function keeps in memory is no longer good, or which before-checkpoint hooks ran. The last one of
// each before the snapshot counts.
type SnapshotNote struct {
	Generation    uint64   `json:"gen"`
	ExpiresUnixMs int64    `json:"exp,omitempty"` // by the sandbox's clock
	Hooks         []string `json:"hooks,omitempty"`
}

// Fault is the guest's own failure.
type Fault struct {
	Doing string `json:"doing"`
	Text  string `json:"text"`
}
