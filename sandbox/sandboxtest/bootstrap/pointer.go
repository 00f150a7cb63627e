package main

import (
	"syscall"
	"unsafe"
)

func pointer(t *syscall.Timespec) uintptr { return uintptr(unsafe.Pointer(t)) }
