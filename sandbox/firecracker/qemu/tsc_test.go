package qemu

import "testing"

func TestClockOfTheHost(t *testing.T) {
	const steady = "flags\t\t: fpu tsc constant_tsc nonstop_tsc\n"
	for _, c := range []struct {
		name, text string
		khz        int
	}{
		{"an ordinary processor", "model name\t: X\n" + steady + "bogomips\t: 5192.24\nTLB size\t: 1\n\nprocessor\t: 1\nbogomips\t: 7\n", 2596120},
		{"a counter that changes its pace", "flags\t\t: fpu tsc\nbogomips\t: 5192.24\n", 0},
		{"another architecture", "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp\n", 0},
		{"no number", steady + "bogomips\t: ...\n", 0},
		{"nothing", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if khz, ok := fromCPUInfo(c.text); khz != c.khz || ok != (c.khz > 0) {
				t.Errorf("%d kHz, %v; want %d", khz, ok, c.khz)
			}
		})
	}
}
