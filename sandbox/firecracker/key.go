package firecracker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"

	"thaw/internal/treesum"
)

// madeOf is all of the backend that a snapshot depends on.
type madeOf struct {
	Format       int    `json:"format"`       // of the parts
	Architecture string `json:"architecture"` //
	Monitor      string `json:"monitor"`      // its name and Key: version and processor
	Kernel       string `json:"kernel"`       // SHA-256
	Initramfs    string `json:"initramfs"`    // SHA-256; the guest is in it
	Args         string `json:"args"`         //
	Network      bool   `json:"network"`      // there is a device
}

// format is raised when parts are written in another way.
const format = 1

func (b *Backend) madeOf() (m madeOf, err error) {
	m = madeOf{
		Format: format, Architecture: runtime.GOARCH, Monitor: b.opt.Monitor.Name() + " " + b.opt.Monitor.Key(), Args: b.opt.Args,
		Network: b.nets != nil,
	}
	if m.Kernel, err = treesum.File(b.opt.Kernel); err != nil {
		return m, fmt.Errorf("kernel: %w", err)
	}
	if m.Initramfs, err = treesum.File(b.opt.Initramfs); err != nil {
		return m, fmt.Errorf("initramfs: %w", err)
	}
	return m, nil
}

// key is sandbox.Capabilities.SnapshotKey.
func (m madeOf) key() string {
	text, _ := json.Marshal(m) //nolint:errcheck // texts and numbers
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:16])
}
