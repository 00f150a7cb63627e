package forkid

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

const (
	machine    = elf.EM_X86_64
	jumpSlot   = uint32(elf.R_X86_64_JMP_SLOT)
	globalData = uint32(elf.R_X86_64_GLOB_DAT)
)

// getpid and an addition. It is called as C's function is, and changes no register that a caller relies on.
//
//	mov $39, %eax    39: getpid
//	syscall
//	add $N, %eax
//	ret
var template = []byte{0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x05, 0, 0, 0, 0, 0xc3}

// Where the template has its number.
const number = 8

func instructions(add uint32) []byte {
	code := bytes.Clone(template)
	binary.LittleEndian.PutUint32(code[number:], add)
	return code
}

// ours says whether instructions are such, whatever they add.
func ours(code []byte) bool {
	return len(code) == len(template) && bytes.Equal(code[:number], template[:number]) && code[len(code)-1] == template[len(template)-1]
}

// What compilers put before the call: nothing, or a mark for indirect branches, a frame, an aligned stack.
var prologues = [][]byte{
	{},
	{0xf3, 0x0f, 0x1e, 0xfa},
}

var frames = [][]byte{
	{},
	{0x55, 0x48, 0x89, 0xe5}, // push %rbp; mov %rsp, %rbp
	{0x48, 0x83, 0xec, 0x08}, // sub $8, %rsp
}

// operand is where a function that only calls or jumps to getpid has that instruction's operand; 0: it is another function.
func operand(code []byte) int {
	for _, p := range prologues {
		for _, f := range frames {
			start := append(bytes.Clone(p), f...)
			if rest, ok := bytes.CutPrefix(code, start); ok && len(rest) >= 5 && (rest[0] == 0xe9 || rest[0] == 0xe8 && len(f) > 0) {
				return len(start) + 1
			}
		}
	}
	return 0
}
