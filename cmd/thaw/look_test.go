package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/lipgloss"
	"golang.org/x/sys/unix"
)

// onTerminal gives what write puts onto a terminal of so many columns.
func onTerminal(t *testing.T, columns uint16, write func(*os.File)) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this host has no pseudo-terminals: %v", err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	write(slave)
	fmt.Fprint(slave, "end")
	var seen string
	for buf := make([]byte, 4096); !strings.HasSuffix(seen, "end"); {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", seen, err)
		}
		seen += string(buf[:n])
	}
	slave.Close()
	return strings.TrimSuffix(strings.ReplaceAll(seen, "\r\n", "\n"), "end")
}

func TestTablesOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("CI", "") // package termenv gives a build no colours
	t.Setenv("NO_COLOR", "")
	os.Unsetenv("NO_COLOR")
	rows := func() [][]string {
		return [][]string{{"FUNCTION", "STATE", "ANSWER"}, {"hello", "Active", strings.Repeat("long ", 40)}, {"broken", "Failed", "ü日本"}}
	}
	coloured := onTerminal(t, 40, func(f *os.File) { table(f, rows()) })
	for line := range strings.Lines(coloured) {
		if width := lipgloss.Width(strings.TrimRight(line, "\n")); width > 40 {
			t.Errorf("%d columns on a terminal of 40: %q", width, line)
		}
	}
	if !strings.Contains(coloured, "\x1b[") || strings.Count(coloured, "\n") != 3 {
		t.Errorf("a person sees %q", coloured)
	}
	t.Setenv("NO_COLOR", "1")
	if plain := onTerminal(t, 40, func(f *os.File) { table(f, rows()) }); strings.Contains(plain, "\x1b[3") {
		t.Errorf("with NO_COLOR a person sees %q", plain)
	}
	var pipe strings.Builder
	table(&pipe, rows())
	if got := pipe.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, strings.TrimSpace(strings.Repeat("long ", 40))) {
		t.Errorf("a pipe gets %q", got)
	}
}
