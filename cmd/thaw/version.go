package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"thaw/node"
	"thaw/node/embedded"
)

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which thaw this is",
		Args:    args(cobra.NoArgs),
		Example: "thaw version -o json",
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
				Carries bool   `json:"carriesGuest"` // false: guest programs are built from source where they are needed
			}{node.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, embedded.Carried()}
			return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "thaw %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch) })
		},
	}
}
