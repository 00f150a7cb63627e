package gvisor

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// snapshotKey names everything of this backend that a snapshot holds on to: gVisor (it is inside thaw-sandbox), the guest (its code is mapped again, not
// saved), the fixed part of a sandbox's spec, whether there is a network, and what the processor can do (programs choose their code by it).
func (b *Backend) snapshotKey() (string, error) {
	h := sha256.New()
	for _, path := range []string{b.opt.SandboxExe, b.skel.links[guestPath]} {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("snapshot key: %w", err)
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("snapshot key: %w", err)
		}
		h.Write([]byte{0})
	}
	spec, err := json.Marshal(newSpec("", ""))
	if err != nil {
		return "", fmt.Errorf("snapshot key: %w", err)
	}
	h.Write(spec)
	fmt.Fprintf(h, "\x00%s\x00%v\x00", runtime.GOARCH, b.nets != nil)
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("snapshot key: %w", err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), ":")
		switch strings.TrimSpace(name) {
		case "flags", "Features", "CPU implementer", "vendor_id":
			h.Write([]byte(value))
		}
		if sc.Text() == "" { // the first processor speaks for all
			return hex.EncodeToString(h.Sum(nil)[:16]), nil
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
