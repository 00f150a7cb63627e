package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enterNetwork moves the calling thread into a network namespace, so that what it starts is there. nil stays.
func enterNetwork(ns *os.File) func() (func() error, error) {
	if ns == nil {
		return nil
	}
	return func() (func() error, error) {
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("network namespace: %w", err)
		}
		back := func() error { return errors.Join(unix.Setns(home, unix.CLONE_NEWNET), unix.Close(home)) }
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return back, fmt.Errorf("network namespace: %w", err)
		}
		return back, nil
	}
}

// inMounts calls f on a thread in the mount namespace of a process, whose root is that namespace's then. The thread ends
// afterwards: its root and folder are its own from here on.
func inMounts(pidfd int, f func() error) error {
	result := make(chan error, 1)
	go onOwnThread(func() { result <- enterMounts(pidfd, f) })
	return <-result
}

// onOwnThread calls f on a thread that ends with it. The process's first thread cannot end, and would stay where f took it.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { // on another thread, since this one is held
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

func enterMounts(pidfd int, f func() error) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	return f()
}
