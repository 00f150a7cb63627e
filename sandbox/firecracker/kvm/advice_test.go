package kvm

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestAdvise(t *testing.T) {
	absent, there, denied := &UnusableError{Absent: true}, &UnusableError{}, &UnusableError{Denied: true}
	for _, c := range []struct {
		name, flags, vendor string
		err                 error
		words, command      string
	}{
		{"usable", "fpu vmx", "Dell Inc.", nil, "", ""},
		{"module of Intel", "fpu vmx", "Dell Inc.", absent, "VT-x", "modprobe kvm_intel"},
		{"module of AMD, on a cloud", "fpu svm hypervisor", "Microsoft Corporation", absent, "AMD-V", "modprobe kvm_amd"},
		{"EC2", "fpu hypervisor", "Amazon EC2", absent, "C8i", "aws ec2 modify-instance-cpu-options"},
		{"Compute Engine", "fpu hypervisor", "Google", absent, "Compute Engine", "--enable-nested-virtualization"},
		{"Azure", "fpu hypervisor", "Microsoft Corporation", absent, "Dv3", "az vm resize"},
		{"another host's machine", "fpu hypervisor", "QEMU", absent, "itself", ""},
		{"interpreted", "fpu hypervisor", "", there, "itself", ""},
		{"firmware", "fpu sse", "Dell Inc.", absent, "firmware", ""},
		{"not this user's", "fpu vmx", "Dell Inc.", denied, "group", "usermod"},
		{"nothing is known", "", "", there, "", ""},
	} {
		root := fstest.MapFS{"sys/class/dmi/id/sys_vendor": {Data: []byte(c.vendor + "\n")}}
		if c.flags != "" {
			root["proc/cpuinfo"] = &fstest.MapFile{Data: []byte("processor\t: 0\nflags\t\t: " + c.flags + "\nbugs\t\t:\n\nprocessor\t: 1\n")}
		}
		if got := advise(root, c.err); !strings.Contains(got.Words, c.words) || !strings.Contains(got.Command, c.command) || c.words == "" && got != (Advice{}) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
