package cgroup

import (
	"os"
	"testing"
)

// Threads of the kernel are told from processes: the kernel's own parent of threads is always the second process.
func TestThreadsOfTheKernel(t *testing.T) {
	if b, err := os.ReadFile("/proc/2/comm"); err != nil || string(b) != "kthreadd\n" {
		t.Skip("the threads of the kernel are not seen from here")
	}
	if !isKernelThread(2) || isKernelThread(os.Getpid()) || isKernelThread(1<<22+1) {
		t.Errorf("2: %v, this process: %v, none: %v", isKernelThread(2), isKernelThread(os.Getpid()), isKernelThread(1<<22+1))
	}
}
