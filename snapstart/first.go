package snapstart

import (
	"context"
	"errors"

	"thaw/execenv"
	"thaw/function"
	"thaw/sandbox"
	"thaw/snapshot"
)

// attempts is how often the platform's own failures are tried again before a version is Failed for them.
const attempts = 3

// Make implements controlplane.Snapshots.
func (s *Service) Make(ctx context.Context, v *function.Version, tags map[string]string) (reason, code string, err error) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil {
		return err.Error(), "InvalidConfiguration", nil
	}
	s.mu.Lock()
	l := s.enterLocked(v)
	if l == nil {
		s.mu.Unlock()
		return "", "", errDeleted
	}
	l.version, l.tags = v, policy
	s.mu.Unlock()
	if err := s.awaitIdle(ctx, l); err != nil {
		return "", "", err
	}
	s.mu.Lock()
	old := l.record
	s.mu.Unlock()
	if old.State.HasCurrent() { // it was made before the server ended, and only its version does not know yet
		s.Used(v)
		return "", "", nil
	}
	makeOne := s.first
	if old.State == snapshot.Inactive {
		makeOne = s.wake
	}
	ctx, done, err := s.begin(ctx, l) // of all attempts: nothing of it may be left when the life has left
	if err != nil {
		return "", "", err
	}
	defer done()
	for n := 1; ; n++ {
		if err = makeOne(ctx, l); err == nil {
			return "", "", nil
		}
		if l.ctx.Err() != nil { // ctx hears of it a moment later
			return "", "", context.Cause(l.ctx)
		}
		if ctx.Err() != nil {
			return "", "", context.Cause(ctx)
		}
		if reason, code := functionsFault(err); code != "" {
			return reason, code, nil
		}
		if n == attempts {
			return "The snapshot could not be made: " + err.Error(), "InternalError", nil
		}
		s.o.Log.Warn("snapshot not made, will try again", "fn", v.Name, "qualifier", v.Number, "error", err)
	}
}

// first makes the first generation of a version from whatever an earlier attempt has left.
func (s *Service) first(ctx context.Context, l *life) error {
	if err := s.dropAll(ctx, l.id); err != nil {
		return err
	}
	return s.writeAndMake(ctx, l, anew)
}

// wake makes a generation of a version that was Inactive. A failure makes it that again.
func (s *Service) wake(ctx context.Context, l *life) error {
	return s.writeAndMake(ctx, l, moves("", snapshot.Invoked))
}

// writeAndMake waits for the making that a write begins.
func (s *Service) writeAndMake(ctx context.Context, l *life, f edit) error {
	w, err := s.write(ctx, l, f)
	if err != nil {
		return err
	}
	if w.making == nil {
		return errGivenUp
	}
	return w.making.wait(ctx)
}

// functionsFault says why a snapshot could not be made when that is the function's own doing, and with which code of
// AWS's. code is empty when it is ours.
func functionsFault(err error) (reason, code string) {
	var init *execenv.InitFailedError
	var restore *execenv.RestoreError
	var priming *execenv.PrimingError
	var box *sandbox.SnapshotError
	switch {
	case errors.As(err, &box) && box.Stage == sandbox.StageMemory:
		return "The snapshot could not be made: " + box.Err.Error(), "FunctionError.InitResourceExhausted"
	case errors.As(err, &priming):
		return priming.Error(), "FunctionError"
	case errors.As(err, &init) && init.Timeout:
		return init.Error(), "FunctionError.InitTimeout"
	case errors.As(err, &init) && (init.ErrorType == "Runtime.InvalidEntrypoint"):
		return init.Error(), "FunctionError.InvalidEntryPoint"
	case errors.As(err, &init) && init.ErrorType == "Runtime.InvalidWorkingDir":
		return init.Error(), "FunctionError.InvalidWorkingDirectory"
	case errors.As(err, &init):
		return init.Reason(), "FunctionError"
	case errors.As(err, &restore):
		return restore.Reason(), "FunctionError"
	}
	return "", ""
}
