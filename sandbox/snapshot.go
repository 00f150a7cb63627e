package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A SnapshotSink takes the parts of one snapshot as a Checkpoint writes them. Which parts there are, and what is in them,
// the backend alone knows: it names them here, and asks a SnapshotSource for the same names.
type SnapshotSink interface {
	// Create opens a part for writing; each is asked for once. A name has no slash and is good for a file. A plain
	// *os.File, empty, is written by the sandbox itself; any other writer gets the bytes in order, through a temporary
	// file of the backend. Checkpoint closes the writer, whatever happens. What was written is a snapshot only once
	// Checkpoint has returned nil.
	Create(part string) (io.WriteCloser, error)
	// Note takes what the backend has to say of a snapshot that is good. It is called before Checkpoint returns nil.
	Note(text string)
}

// A SnapshotSource gives the parts of one snapshot, also to several who read it at once. Its readers stay valid until
// Restore has returned; where Capabilities.LateMemory, those of parts without a File until the sandbox is closed. What is
// still under way then, because everybody gave up on it, may take as long as it likes: it holds up the backend's Close,
// nothing else. Open can still be called then, and answers an error when the source has ended.
type SnapshotSource interface {
	Open(part string) (SnapshotPart, error)
}

// SnapshotPart is one part to be read. Who opened it closes File.
type SnapshotPart struct {
	Size int64
	// File is a plain local file that nobody writes any more: the fast way. The sandbox reads it itself, from its beginning. It may
	// have been unlinked. nil where there is none.
	File *os.File
	// Reader gives any bytes of it, to several at once. It is used when File is nil: from beginning to end, while the sandbox
	// already loads what has arrived, or where Capabilities.LateMemory here and there, while it already runs.
	Reader io.ReaderAt
}

// SnapshotError says at which stage a checkpoint or a restore ended. Nothing of the sandbox that was being restored is left.
type SnapshotError struct {
	Stage string // one of the Stage constants
	Err   error
}

// Stages of a SnapshotError.
const (
	StageSave   = "save"   // the sandbox did not save itself
	StageMemory = "memory" // saving took more memory than the sandbox may have: it has too many files, sockets and processes for that
	StageClock  = "clock"  // the saved clock was not found exactly once: a gVisor that we do not know
	StageSink   = "sink"   // the sink refused a part, or its bytes
	StageSource = "source" // the source refused a part, or its bytes
	StageMake   = "make"   // no sandbox to restore into
	StageHeader = "header" // made by something else (another gVisor, guest or processor), or not a snapshot
	StageLoad   = "load"   // the snapshot is damaged, or does not fit
	StageBind   = "bind"   // limits or mounts of the Spec
)

func (e *SnapshotError) Error() string { return fmt.Sprintf("snapshot: %s: %v", e.Stage, e.Err) }
func (e *SnapshotError) Unwrap() error { return e.Err }

// ErrNoSnapshots is the answer of a backend whose Capabilities.Snapshots is false.
var ErrNoSnapshots = errors.New("this sandbox backend cannot take or restore snapshots")
