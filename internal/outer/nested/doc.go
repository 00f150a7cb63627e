// Package nested has tests of microVMs on the real Firecracker: they run where machines can be made, be it a host with KVM or
// an outer machine that emulates one.
package nested
