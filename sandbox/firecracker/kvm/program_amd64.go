package kvm

import (
	"encoding/binary"
	"slices"
)

// The guest's memory: physical addresses, which are its virtual ones.
const (
	memory     = 64 << 10
	pml4       = 0x1000
	pdpt       = 0x2000
	pages      = 0x3000 // one of 2 MiB
	gdt        = 0x4000
	idt        = 0x5000
	handler    = 0x6000
	code16     = 0x7000
	code64     = 0x8000
	area       = 0x9000 // of xsave
	double     = 0xa000 // that cmpxchg16b changes
	stack      = 0xc000
	port       = 0xe9
	realAnswer = 'r'
	longAnswer = 'l'
)

// turns of the loop, of two instructions each.
const turns = 5_000_000

// step is a piece of the guest's program. The answer is written to port when all have run.
type step struct {
	what string
	code []byte
}

var real16 = []byte{0xb0, realAnswer, 0xe6, port} // mov al, 'r'; out port, al

// long64 are instructions that a kernel of Linux runs within its first second. Those before the loop are the ones at
// which KVM without hardware was seen to give up.
var long64 = []step{
	{"cmpxchg16b", slices.Concat(
		[]byte{0xbf}, le32(double), // mov edi, double
		[]byte{0x31, 0xc0, 0x31, 0xd2}, // xor eax, eax; xor edx, edx
		[]byte{0xbb}, le32(0x11223344), // mov ebx
		[]byte{0xb9}, le32(0x55667788), // mov ecx
		[]byte{0xf0, 0x48, 0x0f, 0xc7, 0x0f}, // lock cmpxchg16b [rdi]
	)},
	{"xsave", slices.Concat(
		[]byte{0xbe}, le32(area), // mov esi, area
		[]byte{0xb8}, le32(1), // mov eax, 1: the x87 state
		[]byte{0x31, 0xd2},       // xor edx, edx
		[]byte{0x0f, 0xae, 0x26}, // xsave [rsi]
		[]byte{0x0f, 0xae, 0x2e}, // xrstor [rsi]
	)},
	{"int3", []byte{0xcc}},
	{"a loop", slices.Concat(
		[]byte{0xb9}, le32(turns), // mov ecx, turns
		[]byte{0xff, 0xc9, 0x75, 0xfc}, // dec ecx; jnz to dec
	)},
	{"out", []byte{0xb0, longAnswer, 0xe6, port}},
}

// stepAt names the step that an address is in.
func stepAt(steps []step, rip uint64) string {
	at := uint64(code64)
	for _, s := range steps {
		if at += uint64(len(s.code)); rip < at {
			return s.what
		}
	}
	return "the end"
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// fill writes the program and what a processor in long mode needs into the guest's memory.
func fill(m []byte, steps []step) {
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(m[at:], v) }
	put(pml4, pdpt|3)                       // present, writable
	put(pdpt, pages|3)                      //
	put(pages, 0x83)                        // 2 MiB at address 0
	put(gdt+8, 0x00af9b000000ffff)          // code of 64 bits, ring 0
	put(gdt+16, 0x00cf93000000ffff)         // data
	put(idt+3*16, 0x8e00_0008_0000|handler) // an interrupt gate to handler
	put(idt+3*16+8, 0)
	copy(m[handler:], []byte{0x48, 0xcf}) // iretq
	copy(m[code16:], real16)
	at := code64
	for _, s := range steps {
		at += copy(m[at:], s.code)
	}
}
