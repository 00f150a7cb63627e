package firecracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/wire"
	"thaw/sandbox"
)

func TestASnapshotGoesOn(t *testing.T) {
	b := open(t, nil)
	x := create(t, b, "original")
	before := x.ask("before")
	original, err := os.ReadFile(x.disks.tmp)
	if err != nil {
		t.Fatal(err)
	}
	d := folder(t.TempDir())
	if err := x.save(d); err != nil {
		t.Fatal(err)
	}
	select {
	case <-x.Exited():
	case <-time.After(patience):
		t.Fatal("it goes on after its checkpoint")
	}
	if exit := x.Exit(); !exit.Asked || exit.Err != nil {
		t.Errorf("exit %+v", exit)
	}
	// What the monitor writes counts as its own, on top of the machine's memory.
	if room := b.opt.Monitor.(*fakeMonitor).room.Load(); b.groups.HasMemory() && room < 2*int64(machineMemory(testMemoryMiB))<<20 {
		t.Errorf("while it is written, the machine's group may have %d bytes", room)
	}
	var memory unix.Stat_t
	if err := unix.Stat(d.path(partMemory), &memory); err != nil || memory.Size != int64(machineMemory(testMemoryMiB))<<20 || memory.Blocks*512 > 1<<20 {
		t.Errorf("the memory's holes are not kept: %d bytes in %d, %v", memory.Size, memory.Blocks*512, err)
	}
	if fi, err := os.Stat(d.path(partTmp)); err != nil || fi.Size() > 1<<20 {
		t.Errorf("an empty disk of /tmp is saved as %v, %v", fi, err)
	}
	b.opt.Monitor.(*fakeMonitor).resets.Store(2) // as Firecracker does with the first connection
	seen := map[string]bool{before.Fresh: true}
	for i, src := range []sandbox.SnapshotSource{d, readers{d}, d} {
		c := restore(t, b, fmt.Sprint("copy-", i), src)
		after := c.ask("after")
		if after.Value != before.Value || after.Calls != before.Calls+1 {
			t.Errorf("copy %d says %+v, the original said %+v", i, after, before)
		}
		if after.Resolv != string(b.files["/etc/resolv.conf"]) {
			t.Errorf("copy %d asks name servers %q", i, after.Resolv)
		}
		if seen[after.Fresh] {
			t.Errorf("copy %d has another's entropy", i)
		}
		seen[after.Fresh] = true
		disk, err := os.ReadFile(c.disks.tmp)
		if err != nil || !bytes.Equal(disk, original) {
			t.Errorf("copy %d: the disk of /tmp is another, %v", i, err)
		}
		if i < 2 {
			continue
		}
		next := folder(t.TempDir()) // a copy can be saved, too
		if err := c.save(next); err != nil {
			t.Fatal(err)
		}
		if again := restore(t, b, "copy-of-copy", next).ask("again"); again.Value != before.Value || again.Calls != after.Calls+1 {
			t.Errorf("the copy's copy says %+v", again)
		}
	}
}

func wantStage(t *testing.T, what string, err error, stage string) {
	t.Helper()
	var se *sandbox.SnapshotError
	if !errors.As(err, &se) || se.Stage != stage {
		t.Errorf("%s: error %v, want stage %s", what, err, stage)
	}
}

// What does not fit is refused before anything is loaded.
func TestASnapshotThatDoesNotFit(t *testing.T) {
	b := open(t, nil)
	d := snapshotOf(t, b)
	for what, c := range map[string]struct {
		change func(*sandbox.Spec)
		stage  string
	}{
		"more memory":         {func(s *sandbox.Spec) { s.MemoryMiB++ }, sandbox.StageBind},
		"another /tmp":        {func(s *sandbox.Spec) { s.TmpMiB++ }, sandbox.StageBind},
		"a mount more":        {func(s *sandbox.Spec) { s.Mounts = append(s.Mounts, sandbox.Mount{Source: taskDir(), Target: "/opt"}) }, sandbox.StageBind},
		"no mount":            {func(s *sandbox.Spec) { s.Mounts = nil }, sandbox.StageBind},
		"a source that went":  {func(s *sandbox.Spec) { s.Mounts[0].Source = "/is/not/there" }, sandbox.StageBind},
		"an image, no folder": {func(s *sandbox.Spec) { s.Mounts[0].Image = true }, sandbox.StageBind},
	} {
		spec := testSpec("misfit")
		c.change(&spec)
		s, err := b.Restore(testContext(t), spec, d)
		if err == nil {
			s.Close()
		}
		wantStage(t, what, err, c.stage)
	}
	other := open(t, func(o *Options) { o.Monitor = &fakeMonitor{key: "2"} })
	if other.key == b.key {
		t.Error("two versions of a monitor have one key")
	}
	_, err := other.Restore(testContext(t), testSpec("other"), d)
	wantStage(t, "another version of the monitor", err, sandbox.StageHeader)
}

// Any byte that is not what was saved is found, also in a file that takes the place of one that was found whole.
func TestADamagedSnapshot(t *testing.T) {
	b := open(t, nil)
	good := snapshotOf(t, b)
	restore(t, b, "good", good)
	parts := []string{partState, partMemory, partTmp, partManifest}
	for what, damage := range map[string]func(f *os.File, size int64) error{
		"empty":   func(f *os.File, _ int64) error { return f.Truncate(0) },
		"half":    func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"shorter": func(f *os.File, size int64) error { return f.Truncate(size - 1) },
		"longer":  func(f *os.File, size int64) error { return f.Truncate(size + 1) },
		"first":   func(f *os.File, _ int64) error { return flip(f, 0) },
		"middle":  func(f *os.File, size int64) error { return flip(f, size/2) },
		"last":    func(f *os.File, size int64) error { return flip(f, size-1) },
	} {
		for _, bad := range parts {
			for _, direct := range []bool{true, false} {
				d := folder(t.TempDir())
				for _, p := range parts {
					copySparse(t, d.path(p), good.path(p))
				}
				f, err := os.OpenFile(d.path(bad), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				fi, _ := f.Stat()
				if err := errors.Join(damage(f, fi.Size()), f.Close()); err != nil {
					t.Fatal(err)
				}
				stage, src := sandbox.StageLoad, sandbox.SnapshotSource(d)
				if bad == partManifest {
					stage = sandbox.StageHeader
				}
				if !direct {
					src = readers{d}
				}
				s, err := b.Restore(testContext(t), testSpec("bad"), src)
				if err == nil {
					s.Close()
				}
				wantStage(t, fmt.Sprintf("%s %s, files: %v", bad, what, direct), err, stage)
			}
		}
	}
	restore(t, b, "after", good)
}

func copySparse(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	fi, err := in.Stat()
	list, err2 := extents(in)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if err := out.Truncate(fi.Size()); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if _, err := io.CopyN(io.NewOffsetWriter(out, e.Offset), io.NewSectionReader(in, e.Offset, e.Length), e.Length); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(f *os.File, at int64) error {
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 4
	_, err := f.WriteAt(b[:], at)
	return err
}

var errBroken = errors.New("the disk is full")

// brokenSink fails at one part: where it is created, written or closed.
type brokenSink struct {
	folder
	part, where string
}

func (s brokenSink) Create(part string) (io.WriteCloser, error) {
	if part != s.part {
		return s.folder.Create(part)
	}
	if s.where == "create" {
		return nil, errBroken
	}
	return s, nil
}

func (s brokenSink) Write(p []byte) (int, error) { return len(p), s.at("write") }
func (s brokenSink) Close() error                { return s.at("close") }

func (s brokenSink) at(where string) error {
	if s.where == where {
		return errBroken
	}
	return nil
}

func TestACheckpointThatFails(t *testing.T) {
	b := open(t, nil)
	d := snapshotOf(t, b)
	for _, part := range append(savedParts, partManifest) {
		for _, where := range []string{"create", "write", "close"} {
			x := restore(t, b, "unsaved", d)
			err := x.save(brokenSink{folder(t.TempDir()), part, where})
			wantStage(t, part+" "+where, err, sandbox.StageSink)
			if !errors.Is(err, errBroken) {
				t.Errorf("%s %s: the error does not say the sink's: %v", part, where, err)
			}
			<-x.Exited()
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, word := range []string{"savefault", "snapshotfault"} {
		b := open(t, func(o *Options) { o.Args = word })
		x := create(t, b, "unsaved")
		wantStage(t, word, x.save(folder(t.TempDir())), sandbox.StageSave)
		<-x.Exited()
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		wantStage(t, "a checkpoint of what is closed", x.Checkpoint(testContext(t), folder(t.TempDir())), sandbox.StageSave)
	}
}

// A sandbox is closed in the middle of its checkpoint, which says so at once.
func TestClosingInTheMiddleOfACheckpoint(t *testing.T) {
	b := open(t, func(o *Options) { o.Args = "mutesave" })
	x := create(t, b, "unsaved")
	x.send(wire.KindQuiesce, nil, "")
	x.expect(wire.KindQuiesced)
	saved := make(chan error, 1)
	go func() { saved <- x.Checkpoint(testContext(t), folder(t.TempDir())) }()
	until(t, "the guest is asked to save", func() bool {
		x.control.mu.Lock()
		defer x.control.mu.Unlock()
		return len(x.control.waiting) > 0
	})
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-saved:
		wantStage(t, "closed", err, sandbox.StageSave)
	case <-time.After(saveLimit / 2):
		t.Error("the checkpoint goes on")
	}
}

// A guest that refuses to be bound, or says nothing, fails Create within the caller's patience.
func TestAGuestThatDoesNotComeUp(t *testing.T) {
	for word, c := range map[string]struct {
		want  string
		limit time.Duration // of those who wait for the answer; it is not reached where there is one
	}{"bindfault": {"no such drive", patience}, "nohello": {context.DeadlineExceeded.Error(), time.Second}} {
		want := c.want
		b := open(t, func(o *Options) { o.Args = word })
		ctx, cancel := context.WithTimeout(t.Context(), c.limit)
		s, err := b.Create(ctx, testSpec("mute"))
		cancel()
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", word, err, want)
		}
	}
}
