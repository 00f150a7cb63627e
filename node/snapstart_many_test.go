package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// manyFiles is a function whose Init leaves n files, and so many objects in its sandbox's kernel.
func manyFiles(n int) string {
	return fmt.Sprintf(`const fs = require('fs'); fs.mkdirSync('/tmp/q'); for (let i = 0; i < %d; i++) fs.closeSync(fs.openSync('/tmp/q/' + i, 'w'))
		exports.handler = async () => fs.readdirSync('/tmp/q').length`, n)
}

// launcherPID finds the process that all sandboxes of this test share.
func launcherPID(t *testing.T) int {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		stat, _ := os.ReadFile(path)
		cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		_, rest, _ := strings.Cut(string(stat), ") ") // state, parent
		f := strings.Fields(rest)
		if len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) && bytes.HasSuffix(cmd, []byte("\x00launch\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	t.Fatal("no launcher")
	return 0
}

// peakKB is the most memory that a process has had since resetPeak.
func peakKB(t *testing.T, pid int) (kb int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(after, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}

// Source of "5": proc_pid_clear_refs(5).
func resetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Skip("peaks of memory cannot be reset: ", err)
	}
}

func TestSnapStartOfAHundredThousandFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some ten seconds of processor time")
	}
	const n = 100_000
	s := shared(t, "gvisor")
	f := s.js(manyFiles(n), snapStart, memory(1024))
	launcher := launcherPID(t)
	resetPeak(t, launcher)
	before := peakKB(t, launcher)
	c := f.publish()
	if c.State != types.StateActive {
		t.Fatalf("state %s: %s", c.State, aws.ToString(c.StateReason))
	}
	if more := peakKB(t, launcher) - before; more > 32<<10 {
		t.Errorf("the launcher held %d KB more meanwhile", more)
	}
	list, err := f.node.snapshots.Inside().Records.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if strings.HasSuffix(string(r.Version.Function), ":"+f.name) && (r.Current == nil || r.Current.Attributes["note"] != "") {
			t.Errorf("the snapshot is %+v", r.Current)
		}
	}
	if a := f.invokeVersion("1", "{}"); a.ok(t) != strconv.Itoa(n) {
		t.Errorf("a copy finds %s files", a.ok(t))
	}
}

// A sandbox needs memory to save what it holds. Where the function's does not suffice, its owner is told so, at once.
func TestSnapStartOfMoreThanCanBeSaved(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(manyFiles(100_000), snapStart, memory(352))
	c := f.publish()
	if reason := aws.ToString(c.StateReason); c.State != types.StateFailed || !strings.Contains(reason, "takes more than the 352 MB that the function may have") {
		t.Errorf("state %s: %s", c.State, reason)
	}
	if c.StateReasonCode != types.StateReasonCodeFunctionErrorInitResourceExhausted {
		t.Errorf("code %s", c.StateReasonCode)
	}
}
