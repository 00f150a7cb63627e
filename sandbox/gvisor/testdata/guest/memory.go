package main

import "runtime/debug"

func freeOS() { debug.FreeOSMemory() }
