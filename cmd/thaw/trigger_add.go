package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/notify"
	"thaw/trigger"
)

func triggerAddCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:     "add",
		Short:   "Have a bucket, a folder, a topic or a load balancer send events to a function",
		Example: "thaw trigger add folder ./in --function hello",
	}, triggerAddS3Command(a), triggerAddFolderCommand(a), triggerAddSNSCommand(a), triggerAddALBCommand(a))
}

// newTrigger is what the kinds of triggers have in common on the command line.
type newTrigger struct {
	function string
	filter   trigger.S3Filter
}

func (n *newTrigger) flags(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.function, "function", "", "the function, or FUNCTION:QUALIFIER, that gets the events")
	f.StringArrayVar(&n.filter.Events, "event", []string{"s3:ObjectCreated:*"}, "event of S3, such as s3:ObjectRemoved:*; can be given several times")
	f.StringVar(&n.filter.Prefix, "prefix", "", "only keys that begin so")
	f.StringVar(&n.filter.Suffix, "suffix", "", "only keys that end so")
	cmd.RegisterFlagCompletionFunc("function", a.complete(aQualified)) //nolint:errcheck // the flag is there
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if n.function == "" {
			return misuse{errors.New("--function says who gets the events")}
		}
		return nil
	}
}

// add makes a trigger.
func (c *call) add(kind, name, function string, settings any) (made admin.MadeTrigger, err error) {
	if c.server == nil {
		return made, errors.New("triggers are made on the server's own host: leave --endpoint away there")
	}
	arn, err := c.functionARN(c, function)
	if err != nil {
		return made, err
	}
	b, err := json.Marshal(settings)
	if err != nil {
		return made, err
	}
	return c.server.AddTrigger(c, admin.NewTrigger{Kind: kind, Name: name, Function: arn, Settings: b})
}

func triggerAddS3Command(a *app) *cobra.Command {
	var n newTrigger
	cmd := &cobra.Command{
		Use:   "s3 NAME --function FUNCTION",
		Short: "Take notifications of a bucket from a server of objects: MinIO, Ceph",
		Long: `Makes a URL for notifications of buckets, and a token that whoever sends them must show; the token is shown once. The function gets S3's
own event. What the command prints says how MinIO and Ceph are told.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger add s3 images --function hello --bucket images --suffix .jpg",
	}
	n.flags(a, cmd)
	cmd.Flags().StringVar(&n.filter.Bucket, "bucket", "", "only this bucket (default all that the server tells of)")
	return calling(a, cmd, nil, func(c *call) error {
		made, err := c.add(string(notify.Webhook), c.names[0], n.function, notify.Settings{Filter: n.filter})
		if err != nil {
			return err
		}
		return a.print(made, func(w io.Writer) {
			fmt.Fprintf(w, "%s tells %s at %s\ntoken %s\n", made.From, shortFunction(made.Function), made.At, made.Token)
			fmt.Fprintf(a.words, `The token is not shown again.
MinIO: mc admin config set SERVER notify_webhook:thaw endpoint=%s auth_token=%s
       mc event add SERVER/BUCKET arn:minio:sqs::thaw:webhook --event put,delete
Ceph:  a topic with push-endpoint=%s/%s
`, made.At, made.Token, made.At, made.Token)
		})
	})
}

func triggerAddFolderCommand(a *app) *cobra.Command {
	var (
		n   newTrigger
		set notify.Settings
		as  string
	)
	cmd := &cobra.Command{
		Use:   "folder DIR --function FUNCTION",
		Short: "Send S3's event for each file that is written into a folder of the server's host",
		Long: `Has the server watch a folder and all folders below. The function gets S3's event when a file is complete: when it was closed, moved or
linked there. Names that begin with a dot count for nothing. What changes while the server is away is told when it is back.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger add folder ./in --function hello",
	}
	n.flags(a, cmd)
	f := cmd.Flags()
	f.StringVar(&as, "name", "", "name of the trigger (default the bucket's)")
	f.StringVar(&set.Bucket, "bucket", "", "name of the bucket in events (default the folder's name)")
	f.BoolVar(&set.Existing, "existing", false, "tell of the files that lie there already, too")
	return calling(a, cmd, []operand{aFile}, func(c *call) (err error) {
		if set.Dir, err = filepath.Abs(c.names[0]); err != nil {
			return err
		}
		if info, err := os.Stat(set.Dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is no folder; type: mkdir %s", set.Dir, c.names[0])
		}
		set.Filter = n.filter
		made, err := c.add(string(notify.Folder), as, n.function, set)
		if err != nil {
			return err
		}
		return a.print(made, func(w io.Writer) {
			fmt.Fprintf(w, "files in %s go to %s as events of %s\n", made.At, shortFunction(made.Function), made.From)
		})
	})
}
