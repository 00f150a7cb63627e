package qemu

import (
	"os"
	"regexp"
	"strconv"
	"strings"

	"thaw/sandbox/firecracker/vmm"
)

// hostTSC is how fast this host's time stamp counter runs, in kHz. An emulated machine reads the same counter, and has no
// other clock to measure it by: its kernel is told. A wrong value would make its clock run wrong.
//
// Some kernels say it. All say bogomips, which are computed from it where the counter is steady: two for each MHz, as
// the delay loop counts two instructions a round. Source: Linux, init/calibrate.c and arch/x86/kernel/tsc.c, lpj_fine.
func hostTSC() (int, error) {
	if b, err := os.ReadFile("/sys/devices/system/cpu/cpu0/tsc_freq_khz"); err == nil {
		if khz, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && khz > 0 {
			return khz, nil
		}
	}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0, err
	}
	if khz, ok := fromCPUInfo(string(b)); ok {
		return khz, nil
	}
	return 0, &vmm.MissingError{What: "this processor has no steady time stamp counter, by which an emulated machine could keep time"}
}

var bogomips = regexp.MustCompile(`(?m)^bogomips\s*:\s*([0-9.]+)$`)

func fromCPUInfo(text string) (khz int, ok bool) {
	flags, _, _ := strings.Cut(text[max(0, strings.Index(text, "flags")):], "\n")
	if !strings.Contains(flags+" ", " constant_tsc ") {
		return 0, false
	}
	m := bogomips.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	b, err := strconv.ParseFloat(m[1], 64)
	return int(b * 500), err == nil && b > 0
}
