package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

func round(in, out *[30]uint64, spins int64)

var rounds, lost atomic.Int64

// watchRegisters has threads that compute and call the kernel, and look whether their vector registers stay what they were.
func watchRegisters(threads int) {
	runtime.GOMAXPROCS(threads + 2)
	for i := range threads {
		go func() {
			runtime.LockOSThread()
			seed := uint64(i + 1)
			for n := int64(0); ; n++ {
				var in, out [30]uint64
				for k := range in {
					seed ^= seed << 13
					seed ^= seed >> 7
					seed ^= seed << 17
					in[k] = seed
				}
				round(&in, &out, n%7*300)
				rounds.Add(1)
				if in != out {
					lost.Add(1)
				}
			}
		}()
	}
}

func registersLost() []byte { return fmt.Appendf(nil, "%d %d", lost.Load(), rounds.Load()) }
