#include "textflag.h"

// func round(in, out *[30]uint64, spins int64)
//
// It fills the vector registers, computes for a while, makes a system call (getppid), and tells what is in them then.
TEXT ·round(SB), NOSPLIT, $0-24
	MOVQ in+0(FP), R8
	MOVQ out+8(FP), R9
	MOVQ spins+16(FP), R10
	MOVOU 0(R8), X0
	MOVOU 16(R8), X1
	MOVOU 32(R8), X2
	MOVOU 48(R8), X3
	MOVOU 64(R8), X4
	MOVOU 80(R8), X5
	MOVOU 96(R8), X6
	MOVOU 112(R8), X7
	MOVOU 128(R8), X8
	MOVOU 144(R8), X9
	MOVOU 160(R8), X10
	MOVOU 176(R8), X11
	MOVOU 192(R8), X12
	MOVOU 208(R8), X13
	MOVOU 224(R8), X14
spin:
	DECQ R10
	JGT  spin
	MOVL $110, AX
	SYSCALL
	MOVOU X0, 0(R9)
	MOVOU X1, 16(R9)
	MOVOU X2, 32(R9)
	MOVOU X3, 48(R9)
	MOVOU X4, 64(R9)
	MOVOU X5, 80(R9)
	MOVOU X6, 96(R9)
	MOVOU X7, 112(R9)
	MOVOU X8, 128(R9)
	MOVOU X9, 144(R9)
	MOVOU X10, 160(R9)
	MOVOU X11, 176(R9)
	MOVOU X12, 192(R9)
	MOVOU X13, 208(R9)
	MOVOU X14, 224(R9)
	RET
