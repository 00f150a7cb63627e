package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"thaw/guest"
)

// sweep ends what an earlier server left in the folder. Guests end by themselves when their server dies; what is met here is one in the middle of that, or
// processes whose guest was killed.
func (b *Backend) sweep() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(b.dir, e.Name())
		if n := killMarked(dir); n > 0 {
			b.log.Info("ended processes of an earlier server", "sandbox", e.Name(), "processes", n)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// killMarked kills every process that carries the mark of a sandbox's folder in its environment, until there is none, and returns how many there were.
func killMarked(dir string) int {
	const patience = 3 * time.Second
	mark := []byte(guest.Marker + "=" + dir + "\x00")
	met := map[int]bool{}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		alive := 0
		entries, err := os.ReadDir("/proc")
		if err != nil {
			break
		}
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() {
				continue
			}
			// Empty for a process that has ended, unreadable for those of other users.
			vars, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
			if err != nil || !bytes.Contains(append([]byte{0}, vars...), append([]byte{0}, mark...)) {
				continue
			}
			alive++
			met[pid] = true
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if alive == 0 {
			break
		}
	}
	return len(met)
}
