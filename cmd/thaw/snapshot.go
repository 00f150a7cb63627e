package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func snapshotCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "snapshot",
		Short: "Look at the snapshots of versions with SnapStart, and refresh them",
		Long: `A version is named FUNCTION:VERSION, or by its ARN. Commands that take FUNCTION alone mean its newest version that has a snapshot.
docs/snapstart.md tells the rest.`,
		Example: "thaw snapshot ls",
	}, snapshotLsCommand(a), snapshotInspectCommand(a), snapshotRefreshCommand(a), snapshotRmCommand(a), snapshotPolicyCommand(a), snapshotDoctorCommand(a))
}

// plainSnapshot is an error of the door without the operating system's words in it.
func plainSnapshot(err error, name string) error {
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, admin.ErrNotRunning) {
		return fmt.Errorf("%s has no snapshot here; type: thaw snapshot ls", name)
	}
	return err
}
