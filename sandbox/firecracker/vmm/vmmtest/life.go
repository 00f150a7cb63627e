package vmmtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/guest/control"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/firecracker/vmm/vmmtest/ask"
)

// life: a machine boots, its ports carry everything, it stops and goes on.
func life(t *testing.T, s *Suite) {
	g := s.boot(t, s.config())
	if pids := g.PIDs(); len(pids) == 0 || !alive(pids[0]) {
		t.Fatalf("processes of a machine that runs: %v", pids)
	}
	g.portsCarryEverything()
	for i := range 10 { // one connection after the other, also one that has left questions unanswered
		if i%2 == 1 {
			g.w.Send(ask.Echo, ask.Question{}, bytes.Repeat([]byte{byte(i)}, 100<<10))
		}
		g.hangUp()
		if err := g.call(limited(t)); err != nil {
			t.Fatalf("dialled %d times: %v", i, err)
		}
	}
	for range 2 { // both are idempotent
		if err := g.Pause(limited(t)); err != nil {
			t.Fatalf("pause: %v", err)
		}
	}
	if _, _, err := g.try(time.Now().Add(300*time.Millisecond), ask.Echo, ask.Question{}, []byte("are you asleep?")); err == nil {
		t.Error("a paused machine answers")
	}
	for range 2 {
		if err := g.Resume(limited(t)); err != nil {
			t.Fatalf("resume: %v", err)
		}
	}
	g.conn.SetDeadline(time.Now().Add(answerLimit))
	if _, body, err := g.listen(ask.Echo); err != nil || string(body) != "are you asleep?" {
		t.Errorf("a connection over a pause: %q, %v", body, err)
	}
	g.end()
}

// portsCarryEverything sends all bytes there are over the stream's port, while the other answers.
func (g *guest) portsCarryEverything() {
	g.Helper()
	sent := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(sent)
	c, err := g.Dial(limited(g), control.StreamPort)
	if err != nil {
		g.Fatalf("dial the stream: %v", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * answerLimit))
	wrote := make(chan error, 1)
	go func() { _, err := c.Write(sent); wrote <- err }()
	got := make([]byte, len(sent))
	half := len(got) / 2
	_, err = io.ReadFull(c, got[:half])
	if _, body := g.ask(ask.Echo, ask.Question{}, []byte("both")); string(body) != "both" {
		g.Errorf("the other port answers %q meanwhile", body)
	}
	if err == nil {
		_, err = io.ReadFull(c, got[half:])
	}
	if err != nil || !bytes.Equal(sent, got) {
		g.Errorf("a stream of %d bytes does not come back as it was: %v", len(sent), err)
	}
	if err := <-wrote; err != nil {
		g.Errorf("write: %v", err)
	}
}

// copies: two machines go on from one snapshot at once; neither sees what the other writes, nor does the snapshot change.
// They have two processors each, since others of the suite have one.
func copies(t *testing.T, s *Suite) {
	dir := s.folder(t)
	disk := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Repeat("disk of the first", 1<<15)[:1<<19]), 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, 0o666)
		return path
	}
	config := s.config(vmm.Drive{Path: disk("first"), Writable: true})
	config.Processors = 2
	first := s.boot(t, config)
	first.has(2)
	first.fill(16, "the first machine's memory, ")
	want := first.sum()
	saved := s.save(t, first, config)
	before := hashOf(t, saved.saved.Memory)

	var both []*guest
	for _, name := range []string{"one", "two"} {
		p := saved
		p.config.Drives = []vmm.Drive{{Path: disk(name), Writable: true}}
		both = append(both, s.restore(t, p))
	}
	one, two := both[0], both[1]
	for i, g := range both {
		if got := g.sum(); got != want {
			t.Errorf("copy %d has another memory than the machine that was saved", i)
		}
	}
	one.fill(16, "what only one has")
	if err := one.write("/dev/vda", 4096, "only one's"); err != nil {
		t.Fatal(err)
	}
	if two.sum() != want {
		t.Error("a copy sees what the other writes into its memory")
	}
	if got, _ := two.read("/dev/vda", 4096, 10); got == "only one's" {
		t.Error("a copy sees what the other writes on its disk")
	}
	if got, _ := one.read("/dev/vda", 4096, 10); got != "only one's" {
		t.Errorf("a copy's disk has %q", got)
	}
	one.has(2)
	one.portsCarryEverything()
	two.hangUp()
	if err := two.call(limited(t)); err != nil {
		t.Errorf("dial a copy again: %v", err)
	}
	one.end()
	if two.sum() != want {
		t.Error("a copy's memory is lost with the other copy")
	}
	two.end()
	if !bytes.Equal(before, hashOf(t, saved.saved.Memory)) {
		t.Error("copies have changed the snapshot's memory file")
	}
	served(t, s, saved, want, disk)
}

// has wants a number of processors.
func (g *guest) has(processors int) {
	g.Helper()
	list := "0"
	if processors > 1 {
		list = fmt.Sprintf("0-%d", processors-1)
	}
	if got, _ := g.read("/sys/devices/system/cpu/online", 0, len(list)+1); got != list+"\n" {
		g.Errorf("its processors are %q, want %s", got, list)
	}
}

func hashOf(t testing.TB, f *os.File) []byte {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<40)); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// copyOfACopy: what was restored can be saved, and restored again.
func copyOfACopy(t *testing.T, s *Suite) {
	first := s.boot(t, s.config())
	first.fill(8, "first ")
	second := s.restore(t, s.save(t, first, s.config()))
	second.fill(8, "second ")
	want := second.sum()
	third := s.restore(t, s.save(t, second, s.config()))
	if third.sum() != want {
		t.Error("the copy of a copy has another memory")
	}
	third.fill(8, "third ")
	want = third.sum()
	fourth := s.restore(t, s.save(t, third, s.config()))
	if fourth.sum() != want {
		t.Error("the third copy has another memory")
	}
	fourth.end()
}
