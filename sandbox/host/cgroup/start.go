package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// Start starts a program that is born in the group: were it moved there afterwards, a server that is killed in between
// would leave a process that its successor does not find. in is called just before, on the thread that starts it; what it
// changes of the thread it must change back with the function that it returns. nil: nothing.
func (g *Group) Start(cmd *exec.Cmd, in func() (undo func() error, err error)) error {
	result := make(chan error, 1)
	go func() { result <- g.start(cmd, in) }()
	return <-result
}

// start runs on a thread of its own, which ends with it when it could not be brought back to where it was.
func (g *Group) start(cmd *exec.Cmd, in func() (func() error, error)) (err error) {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() {
		// The first thread is where the process is: /proc/self says it by this one, and findHome would be led astray.
		defer runtime.UnlockOSThread()
		return g.Start(cmd, in) // on another, since this one is held
	}
	back, err := g.enter(cmd)
	if err == nil && in != nil {
		var undo func() error
		if undo, err = in(); undo != nil {
			back = append(back, undo)
		}
	}
	if err == nil {
		err = cmd.Start()
	}
	clean := true
	for i := len(back) - 1; i >= 0; i-- {
		clean = back[i]() == nil && clean
	}
	if clean {
		runtime.UnlockOSThread()
	}
	if f := cmd.SysProcAttr; f != nil && f.UseCgroupFD {
		err = errors.Join(err, syscall.Close(f.CgroupFD))
		f.UseCgroupFD = false
	}
	return err
}

// enter sees to it that what this thread starts is in the group. In version 1 a thread has groups of its own, which its
// children inherit; in version 2 the kernel is told at the start.
func (g *Group) enter(cmd *exec.Cmd) (back []func() error, err error) {
	if g == nil {
		return nil, nil
	}
	for i, dir := range g.dirs() {
		tasks := filepath.Join(dir, "tasks")
		if _, err := os.Stat(tasks); err != nil { // version 2
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			fd, err := syscall.Open(dir, syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
			if err != nil {
				return back, fmt.Errorf("cgroup: %w", &os.PathError{Op: "open", Path: dir, Err: err})
			}
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
			continue
		}
		home := filepath.Join(filepath.Dir(g.c.home[i]), "tasks")
		back = append(back, func() error { return os.WriteFile(home, []byte("0"), 0) })
		if err := os.WriteFile(tasks, []byte("0"), 0); err != nil { // 0: the writer
			return back, fmt.Errorf("cgroup: %w", err)
		}
	}
	return back, nil
}
