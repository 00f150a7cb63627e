//go:build !amd64

package forkid

import "debug/elf"

const (
	machine              = elf.EM_NONE // there are no machines of this processor yet
	jumpSlot, globalData = ^uint32(0), ^uint32(0)
)

func instructions(uint32) []byte { return nil }
func ours([]byte) bool           { return false }
func operand([]byte) int         { return 0 }
