package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Announcement says where a server is, for commands that were not told its data folder.
type Announcement struct {
	PID      int    `json:"pid"`
	DataDir  string `json:"dataDir"`
	Endpoint string `json:"endpoint"`
	Signed   bool   `json:"signed"`
	UID      int    `json:"-"` // who runs it, from the file's owner
	User     string `json:"-"`
}

// Announce puts h into the folder of announcements of this user, where Running finds it, until the release is called or
// the process ends: the file is locked, and the kernel lets go of the lock. The file tells nothing that is secret;
// everybody may read it.
func Announce(dataDir string, h Health) (release func() error, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("announcement of the server: %w", err)
		}
	}()
	dir := announcements(os.Geteuid())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if !trusted(dir, os.Geteuid()) {
		return nil, fmt.Errorf("%s belongs to somebody else", dir)
	}
	sweepAnnouncements(dir)
	text, err := json.Marshal(Announcement{PID: h.PID, DataDir: dataDir, Endpoint: h.Endpoint, Signed: h.Signed})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strconv.Itoa(h.PID)+".json")
	// Locked before it has its name: Running takes a file that nobody holds for that of a dead server.
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err == nil {
		if _, err = f.Write(text); err == nil {
			if err = f.Chmod(0o644); err == nil {
				err = os.Rename(f.Name(), path)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return func() error { return errors.Join(os.Remove(path), f.Close()) }, nil
}

// Running lists the servers of this host that this user may know of and talk to: his own, root's, and those of who
// called sudo. Root sees everybody's only that way: what another user's file says is not to be believed.
func Running() []Announcement {
	var all []Announcement
	seen := map[int]bool{}
	for _, uid := range believed() {
		if seen[uid] {
			continue
		}
		seen[uid] = true
		dir := announcements(uid)
		if !trusted(dir, uid) {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, path := range files {
			if a, ok := announced(path, uid); ok {
				all = append(all, a)
			}
		}
	}
	return all
}

// believed are the users whose announcements count, the nearest first.
func believed() []int {
	list := []int{os.Geteuid()}
	if uid, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Geteuid() == 0 {
		list = append(list, uid)
	}
	return append(list, 0)
}

// announced reads one file; ok is false when its server is dead or it is not what uid wrote.
func announced(path string, uid int) (a Announcement, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return a, false
	}
	defer f.Close()
	if owner, err := ownerOf(f); err != nil || owner != uid || free(f) {
		return a, false
	}
	if json.NewDecoder(f).Decode(&a) != nil || !filepath.IsAbs(a.DataDir) {
		return a, false
	}
	a.UID, a.User = uid, userName(uid)
	return a, true
}

// free says whether nobody holds the file's lock.
func free(f *os.File) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return false
	}
	unix.Flock(int(f.Fd()), unix.LOCK_UN)
	return true
}

func ownerOf(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

// trusted says whether a folder is uid's, and nobody else may put files there.
func trusted(dir string, uid int) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	return int(info.Sys().(*syscall.Stat_t).Uid) == uid && info.Mode().Perm()&0o022 == 0
}

// sweepAnnouncements removes what servers left that were killed.
func sweepAnnouncements(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".new-*"))
	for _, path := range append(files, hidden...) {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if free(f) {
			os.Remove(path)
		}
		f.Close()
	}
}

// announcements is the folder of a user's announcements. Variables of the environment have no say in it: sudo, cron and
// a shell of the same user must come to the same folder.
func announcements(uid int) string {
	if uid == 0 {
		return "/run/thaw/servers"
	}
	return filepath.Join("/tmp", "thaw-servers-"+strconv.Itoa(uid))
}

func userName(uid int) string {
	if uid == 0 {
		return "root"
	}
	passwd, err := os.ReadFile("/etc/passwd") // as os/user does it without a C library
	if err == nil {
		for line := range strings.Lines(string(passwd)) {
			if part := strings.Split(line, ":"); len(part) > 2 && part[2] == strconv.Itoa(uid) {
				return part[0]
			}
		}
	}
	return "user " + strconv.Itoa(uid)
}
