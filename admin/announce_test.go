package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"thaw/internal/childtest"
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

// TestAnnounced is the child of TestAKilledServerIsNotFound.
func TestAnnounced(t *testing.T) {
	if _, err := Announce(childtest.Arg(t), Health{PID: os.Getpid(), Endpoint: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("announced")
	select {}
}

// A server that was killed is not found, and its file goes with the next announcement.
func TestAKilledServerIsNotFound(t *testing.T) {
	dir := t.TempDir()
	server := childtest.Start(t, "TestAnnounced", dir)
	server.Says("announced")
	if !announcedHere(dir) {
		t.Error("another process's server is not found")
	}
	server.Kill()
	if announcedHere(dir) {
		t.Error("a killed server is found")
	}
	forget, err := Announce(t.TempDir(), Health{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer forget()
	if _, err := os.Lstat(filepath.Join(announcements(os.Geteuid()), strconv.Itoa(server.PID())+".json")); err == nil {
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
