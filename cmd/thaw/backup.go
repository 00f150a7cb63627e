package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/backup"
	"thaw/node"
)

func backupCommand(a *app) *cobra.Command {
	var recordsOnly, force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy functions and their code into a file",
		Long: `Writes the records of all functions and versions, and their code packages, into a tar file that "thaw restore" reads. The server may run meanwhile.
Snapshots and unpacked code are not in it: they are made again. Logs are not in it. Environment variables are, so only you can read the file.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw backup thaw.tar",
		RunE: func(cmd *cobra.Command, files []string) error {
			server, c, err := a.server(cmd)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(files[0]); err == nil && !force {
				return misuse{fmt.Errorf("%s exists; --force replaces it", files[0])}
			}
			done, err := backup.ToFile(files[0], func(w io.Writer) error {
				err := server.Backup(cmd.Context(), w, recordsOnly)
				if errors.Is(err, admin.ErrNotRunning) {
					return node.Backup(cmd.Context(), c.DataDir, recordsOnly, a.logger(c), w)
				}
				return err
			})
			if err != nil {
				return err
			}
			if done.Head.Incomplete != "" {
				fmt.Fprintln(a.words, "thaw: records may be missing in it: "+done.Head.Incomplete)
			}
			v := struct {
				File     string      `json:"file"`
				Backup   backup.Head `json:"backup"`
				Records  int         `json:"records"`
				Packages int         `json:"packages"`
			}{files[0], done.Head, len(done.Records), done.Code}
			return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "%s: %d records, %d code packages\n", v.File, v.Records, v.Packages) })
		},
	}
	cmd.Flags().BoolVar(&recordsOnly, "records-only", false, "leave out the code packages")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE")
	return cmd
}

func restoreCommand(a *app) *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Go back to a backup, or accept that records are lost",
		Long: `Makes the functions and versions of a backup those of the data folder. The server must not run. The whole backup is checked before anything is changed, and what was there is
set aside. The code packages of the backup are added.
With --accept-loss and no FILE, a data folder whose records are not known to be complete goes on with what is there.`,
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw restore thaw.tar",
		RunE: func(cmd *cobra.Command, files []string) error {
			if accept == (len(files) == 1) {
				return misuse{errors.New("give either a FILE or --accept-loss; type: thaw restore --help")}
			}
			_, c, err := a.server(cmd)
			if err != nil {
				return err
			}
			if accept {
				return a.acceptLoss(cmd.Context(), c)
			}
			file, err := filepath.Abs(files[0])
			if err != nil {
				return err
			}
			r, err := node.Restore(cmd.Context(), file, c.DataDir)
			if err != nil {
				return stopFirst(err)
			}
			for _, sum := range r.Missing {
				fmt.Fprintf(a.words, "thaw: code package %s is in neither the backup nor the data folder: versions that need it will not run\n", sum)
			}
			if r.Backup.Incomplete != "" {
				fmt.Fprintln(a.words, "thaw: when the backup was made, "+r.Backup.Incomplete)
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "restored the backup of %s: %d functions, %d code packages\nwhat was there is in %s\n", r.Backup.Created.Local().Format("2006-01-02 15:04:05"), r.Functions, r.Packages, r.Aside)
			})
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "go on with the records that are there")
	return cmd
}

func (a *app) acceptLoss(ctx context.Context, c node.Config) error {
	lost, aside, err := node.AcceptLoss(ctx, c.DataDir, a.logger(c))
	if err != nil {
		return stopFirst(err)
	}
	v := struct {
		Accepted string `json:"accepted,omitempty"`
		Aside    string `json:"aside,omitempty"`
	}{lost, aside}
	return a.print(v, func(w io.Writer) {
		if lost == "" {
			fmt.Fprintln(w, "the records are complete: nothing to accept")
			return
		}
		fmt.Fprintf(w, "accepted: %s\nwhat was there is in %s\n", lost, aside)
	})
}

// stopFirst says what to do about a server that has the folder.
func stopFirst(err error) error {
	if errors.As(err, new(*admin.RunningError)) {
		return fmt.Errorf("%w; stop it first", err)
	}
	return err
}
