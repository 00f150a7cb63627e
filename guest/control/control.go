// Package control is what the microVM backend and the guest of a machine say to each other beside the stream of
// guest/wire: what a container's runtime would do from outside, the guest must do inside.
//
// Both go through ports of the machine. Frames are those of guest/wire, with the kinds below. The host asks, the guest
// answers each request in order with the same kind (its head the answer, or Fault); OutOfMemory comes by itself. The
// host dials both ports anew after each restore; to the guest a new connection on Port is the sign that it may have
// been restored, and nothing else is: it waits for Restored then.
package control

import (
	"net/netip"

	"thaw/guest/wire"
)

// Ports of the guest.
const (
	StreamPort = 1024 // the stream of guest/wire
	Port       = 1025 // this protocol
)

// Kinds of frames.
const (
	KindBind        wire.Kind = 1 // Bind -> Bound: once, after the boot
	KindMemory      wire.Kind = 2 // nothing -> Memory
	KindSave        wire.Kind = 3 // nothing -> nothing: the machine is about to be saved; the function's processes stand still until Restored, caches are dropped, disks synced
	KindRestored    wire.Kind = 4 // Restored -> nothing: first after a restore
	KindPing        wire.Kind = 5 // nothing -> nothing
	KindOutOfMemory wire.Kind = 6 // OutOfMemory, by itself
	KindFault       wire.Kind = 7 // Fault, instead of an answer
	KindFreeze      wire.Kind = 8 // nothing -> Freeze: the machine is about to be frozen; processes that are computing stand still until Thaw
	KindThaw        wire.Kind = 9 // nothing -> nothing: it goes on, after a Freeze with Held
)

// Bind makes a booted machine the sandbox of one function.
type Bind struct {
	Mounts       []Mount           `json:"mounts"`          // outer targets first
	Folders      []string          `json:"folders"`         // that the root always has: sandbox.Roots, home folders aside
	Tmp          int               `json:"tmp"`             // index of the drive with the file system of /tmp; -1: a tmpfs of TmpBytes
	TmpBytes     int64             `json:"tmpBytes"`        //
	MemoryBytes  int64             `json:"mem"`             // limit for all that the function's processes hold; 0: none
	MaxProcesses int               `json:"procs"`           // 0: no limit
	Files        map[string][]byte `json:"files"`           // of the root: /etc/hosts, /etc/resolv.conf
	Hostname     string            `json:"host"`            //
	Network      *Network          `json:"net,omitempty"`   // nil: loopback only
	Fresh        Fresh             `json:"fresh"`           //
	Users        []User            `json:"users,omitempty"` // whose home folders are made
}

// User has a home folder in the machine.
type User struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Home string `json:"home"`
}

// Mount shows a path of a drive, read-only, at a path inside. What is at Path is a file or a folder.
type Mount struct {
	Drive  int    `json:"drive"` // 0: /dev/vda
	Path   string `json:"path"`  // in the drive's file system
	Target string `json:"target"`
}

// Network is the machine's only device, eth0. It is the same in every copy of a snapshot.
type Network struct {
	Address netip.Prefix `json:"addr"`
	Gateway netip.Addr   `json:"gw"`
	MTU     int          `json:"mtu,omitempty"`
}

// Fresh is what no two copies may share, and what a copy cannot know.
type Fresh struct {
	UnixNano int64  `json:"now"`     // the host's wall clock
	Entropy  []byte `json:"entropy"` // 64 bytes
}

// Bound says that the machine is ready: its stream's port is listened on.
type Bound struct {
	Baseline int64 `json:"base"` // bytes that the guest's own processes hold, part of nobody's limit
}

// Memory is what the function's processes hold, in bytes, without /tmp.
type Memory struct {
	Used int64 `json:"used"`
}

// Freeze is what the guest did before the machine is frozen.
//
// Of the time that a machine is frozen its kernel knows nothing but that it went by: it charges all of it to the thread that
// had the processor. Where that was the guest, or a thread of the kernel that brings events in, and a thread of the
// function computes, that one has the processor until it has had as much: after a night, for a night.
type Freeze struct {
	Memory
	Held bool `json:"held,omitempty"` // processes of the function stand still
}

// Restored is the first word after a restore.
type Restored struct {
	Fresh Fresh             `json:"fresh"`
	Files map[string][]byte `json:"files,omitempty"` // of Bind's that may say something else now: /etc/resolv.conf
}

// OutOfMemory says that the limit was reached and that the kernel has killed for it.
type OutOfMemory struct {
	Count int64 `json:"count"` // since the boot
}

// Fault says why a request failed. The machine is of no use any more.
type Fault struct {
	Text string `json:"text"`
}

// Modules is the folder of the initramfs with the modules that the kernel is to load, as NAME.ko, and ModuleOrder the
// file there that has their names, one a line, in the order in which they can be loaded. A kernel that has all built in
// needs none.
const (
	Modules     = "/modules"
	ModuleOrder = "order"
)

// KernelArgs are what the guest wants of its kernel, whatever runs the machine: it ends at once, also by a panic, by the
// reset that monitors take for an end; it stands still for days and finds nothing wrong with that; and what is free is
// zero, since it may be saved (see machine.save).
const KernelArgs = "reboot=t panic=-1 quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1 init_on_free=1"
