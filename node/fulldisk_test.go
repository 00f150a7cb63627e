package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"golang.org/x/sys/unix"
)

// A server whose data folder is full refuses events with the reason, before anything is lost, and goes on with what it
// has; with room again it takes them, and all that were accepted have run.
func TestFullDataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512m"); err != nil {
		t.Skipf("a small disk cannot be had: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // it goes with its namespace at worst
	s := openServer(t, "process", dir)
	defer s.node.Close(context.Background())
	ctx := context.Background()
	f := s.js(`exports.handler = async e => console.log('ran', e + '.')`)
	accepted := []int{}
	next := 0
	send := func() error {
		next++
		err := f.send(fmt.Sprint(next))
		if err == nil {
			accepted = append(accepted, next)
		}
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	fill := func(leave int64) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		at, err := file.Seek(0, 2)
		if err != nil {
			t.Fatal(err)
		}
		if more := int64(st.Bavail)*st.Bsize - leave; more > 0 {
			if err := unix.Fallocate(int(file.Fd()), 0, at, more); err != nil { //nolint:gosec // a descriptor
				t.Fatal(err)
			}
		}
	}
	for _, leave := range []int64{32 << 20, 0} { // less than the reserve, then nothing
		fill(leave)
		var refused *types.TooManyRequestsException
		if err := send(); !errors.As(err, &refused) || !strings.Contains(aws.ToString(refused.Message), "the disk has no room") || aws.ToString(refused.RetryAfterSeconds) != "5" {
			t.Errorf("with %d MiB left: %v", leave>>20, err)
		}
		if out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(`"waits"`)}); err != nil || out.FunctionError != nil {
			t.Errorf("with %d MiB left, who waits: %+v, %v", leave>>20, out, err)
		}
	}
	_, changed := f.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Description: aws.String("no room")})
	if changed == nil || !strings.Contains(changed.Error(), "The disk of this server is full") {
		t.Errorf("a change that finds no room is answered %v", changed)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "events are taken again", func() bool { return send() == nil })
	until(t, time.Minute, "changes are taken again", func() bool {
		_, err := f.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Description: aws.String("room")})
		return err == nil
	})
	for _, n := range accepted {
		f.logs(fmt.Sprintf("ran %d.", n))
	}
}
