package admin

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func announcedHere(dataDir string) bool {
	return slices.ContainsFunc(Running(), func(a Announcement) bool { return a.DataDir == dataDir })
}

func TestAServerIsFoundWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	if announcedHere(dir) {
		t.Fatal("it is found before it is there")
	}
	forget, err := Announce(dir, Health{PID: os.Getpid(), Endpoint: "http://127.0.0.1:9600"})
	if err != nil {
		t.Fatal(err)
	}
	if !announcedHere(dir) {
		t.Errorf("it is not among %+v", Running())
	}
	if err := forget(); err != nil {
		t.Error(err)
	}
	if announcedHere(dir) {
		t.Error("it is found after its end")
	}
}

// A server that was killed is not found, and its file goes with the next announcement.
func TestAKilledServerIsNotFound(t *testing.T) {
	const dirVar = "THAW_ANNOUNCE_TEST"
	if dir := os.Getenv(dirVar); dir != "" {
		if _, err := Announce(dir, Health{PID: os.Getpid(), Endpoint: "http://127.0.0.1:1"}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("announced\n")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledServerIsNotFound$", "-test.v")
	cmd.Env = append(os.Environ(), dirVar+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said string
	for buf := make([]byte, 256); !strings.Contains(said, "announced"); {
		n, err := out.Read(buf)
		said += string(buf[:n])
		if err != nil {
			t.Fatalf("the other process said %q: %v", said, err)
		}
	}
	if !announcedHere(dir) {
		t.Error("another process's server is not found")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if announcedHere(dir) {
		t.Error("a killed server is found")
	}
	forget, err := Announce(t.TempDir(), Health{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer forget()
	if _, err := os.Lstat(filepath.Join(announcements(os.Geteuid()), strconv.Itoa(cmd.Process.Pid)+".json")); err == nil {
		t.Error("the file of the killed server is left")
	}
}

// What another user wrote, or could have written, is not believed.
func TestAnnouncementsOfOthersAreNotBelieved(t *testing.T) {
	dir := t.TempDir()
	if !trusted(dir, os.Geteuid()) {
		t.Fatal("one's own folder is not believed")
	}
	if trusted(dir, os.Geteuid()+1) {
		t.Error("a folder of somebody else is believed")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if trusted(dir, os.Geteuid()) {
		t.Error("a folder that everybody can write to is believed")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if trusted(link, os.Geteuid()) {
		t.Error("a link is believed")
	}
}
