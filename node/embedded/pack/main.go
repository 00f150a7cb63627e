// Pack compresses an executable for embedding: pack FROM TO. The output depends on the input alone. It begins with a
// frame that zstd skips and that holds the SHA-256 of the executable, so that an installed one is checked without
// unpacking.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack FROM TO")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(from, to string) error {
	whole, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(whole)
	head := binary.LittleEndian.AppendUint32(nil, 0x184D2A50) // RFC 8878, 3.1.2
	head = binary.LittleEndian.AppendUint32(head, uint32(len(sum)))
	small := w.EncodeAll(whole, append(head, sum[:]...))
	return os.WriteFile(to, small, 0o644)
}
