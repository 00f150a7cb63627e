package process

import (
	"context"

	"thaw/sandbox"
)

// Restore implements sandbox.Backend: processes of the host cannot be saved.
func (b *Backend) Restore(context.Context, sandbox.Spec, sandbox.SnapshotSource) (sandbox.Sandbox, error) {
	return nil, sandbox.ErrNoSnapshots
}

// Checkpoint implements sandbox.Sandbox.
func (s *Sandbox) Checkpoint(context.Context, sandbox.SnapshotSink) error {
	return sandbox.ErrNoSnapshots
}
