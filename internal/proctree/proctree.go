// Package proctree finds the processes that descend from one: for sandboxes that have no process namespace.
package proctree

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// Descendants appends the process ids below pid to found, parents before children, without pid itself. It is a picture of a moving thing: a
// process that forks meanwhile may have a child that is missing, so whoever must have all of them asks again until nothing is new.
func Descendants(pid int, found []int) []int {
	var s Scanner
	start := len(found)
	found, ok := s.Children(pid, found)
	if !ok {
		return slow(pid, found[:start])
	}
	for i := start; i < len(found); i++ {
		found, _ = s.Children(found[i], found) // a process that has gone meanwhile has no children
	}
	return found
}

// State is the state letter of a process in /proc/PID/stat (R, S, T, Z ...), 0 when it is gone.
func State(pid int) byte {
	var buf [512]byte
	n := read("/proc/"+strconv.Itoa(pid)+"/stat", buf[:])
	if i := bytes.LastIndexByte(buf[:n], ')'); i >= 0 && i+2 < n {
		return buf[i+2]
	}
	return 0
}

// Scanner keeps its buffers between processes.
type Scanner struct{ dir, kids [4096]byte }

// OfFirstThread appends the children that the first thread of a process has forked or adopted. ok: the process is there and the kernel
// has such files (CONFIG_PROC_CHILDREN).
func (s *Scanner) OfFirstThread(pid int, found []int) (_ []int, ok bool) {
	id := strconv.Itoa(pid)
	return s.kidsOf("/proc/"+id+"/task/"+id+"/children", found)
}

// Children appends the children of a process, all threads': /proc/PID/task/*/children. ok as for OfFirstThread.
func (s *Scanner) Children(pid int, found []int) (_ []int, ok bool) {
	base := "/proc/" + strconv.Itoa(pid) + "/task"
	fd, err := syscall.Open(base, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return found, false
	}
	defer syscall.Close(fd)
	var names [64]string
	for {
		n, err := syscall.ReadDirent(fd, s.dir[:])
		if err != nil || n <= 0 {
			return found, ok
		}
		_, _, threads := syscall.ParseDirent(s.dir[:n], -1, names[:0])
		for _, tid := range threads {
			var has bool
			if found, has = s.kidsOf(base+"/"+tid+"/children", found); has {
				ok = true
			}
		}
	}
}

func (s *Scanner) kidsOf(path string, found []int) ([]int, bool) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return found, false
	}
	defer syscall.Close(fd)
	number, inside := 0, false
	for {
		n, err := syscall.Read(fd, s.kids[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return found, true
		}
		for _, c := range s.kids[:n] {
			if c >= '0' && c <= '9' {
				number, inside = number*10+int(c-'0'), true
			} else if inside {
				found = append(found, number)
				number, inside = 0, false
			}
		}
	}
}

// slow finds them by every process's parent.
func slow(pid int, found []int) []int {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	parents := map[int][]int{}
	var buf [512]byte
	for _, e := range dir {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		n := read("/proc/"+e.Name()+"/stat", buf[:])
		i := bytes.LastIndexByte(buf[:n], ')')
		if i < 0 {
			continue
		}
		if fields := bytes.Fields(buf[i+1 : n]); len(fields) > 1 {
			if parent, err := strconv.Atoi(string(fields[1])); err == nil {
				parents[parent] = append(parents[parent], child)
			}
		}
	}
	start := len(found)
	found = append(found, parents[pid]...)
	for i := start; i < len(found); i++ {
		found = append(found, parents[found[i]]...)
	}
	return found
}

func read(path string, buf []byte) int {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	n, err := syscall.Read(fd, buf)
	if err != nil {
		return 0
	}
	return n
}
