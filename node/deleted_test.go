package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/logstore"
	"thaw/snapshot"
)

// slowToMake takes a second for Init, long enough for its checkpoint to be met, and a second and a half for each of its
// restores. It takes no processor meanwhile.
const slowToMake = `require('fs').writeSync(1, 'initialised\n'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000); const heap = require('crypto').randomBytes(32 << 20)
	const born = Math.random(), at = Date.now()
	awslambda.snapStart.afterRestore(async () => { require('fs').writeSync(1, 'restored\n'); if (Date.now() - at < 20000) await new Promise(r => setTimeout(r, 1500)) })
	exports.handler = async () => ({ born, n: heap.length })`

// phase is how far the making of a version's snapshot is.
type phase struct {
	name string
	of   func(f *deployed, version string) bool
}

func makingPhases() []phase {
	return []phase{
		{"before Init", func(*deployed, string) bool { return true }},
		{"Init", func(f *deployed, version string) bool { return f.count("initialised") > 0 }},
		{"checkpoint", func(f *deployed, version string) bool {
			parts, err := filepath.Glob(filepath.Join(f.node.snapshots.Inside().MakingDir, "*", "*"))
			return err == nil && len(parts) > 0
		}},
		{"store", func(f *deployed, version string) bool {
			files, err := filepath.Glob(filepath.Join(f.node.cfg.DataDir, "snapshots", "store", "pack", "*"))
			return err == nil && len(files) > 0
		}},
		{"verify", func(f *deployed, version string) bool { return f.count("restored") > 0 }},
	}
}

// count is how many of the function's log lines hold a text.
func (f *deployed) count(text string) (n int) {
	events, err := f.node.logs.Filter(context.Background(), logstore.Query{Group: "/aws/lambda/" + f.name})
	if err != nil && !errors.Is(err, logstore.ErrNoGroup) {
		f.t.Fatal(err)
	}
	for _, e := range events {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func (f *deployed) reach(p phase, version string) {
	f.t.Helper()
	f.once("not in phase "+p.name, func() bool { return p.of(f, version) })
}

func (f *deployed) once(otherwise string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatal(otherwise)
		}
	}
}

// begin publishes a version and does not wait for it.
func (f *deployed) begin() (version string) {
	f.t.Helper()
	v, err := f.client.PublishVersion(context.Background(), &lambda.PublishVersionInput{FunctionName: &f.name})
	if err != nil {
		f.t.Fatalf("publish: %v", err)
	}
	return *v.Version
}

func (f *deployed) delete(version string) {
	f.t.Helper()
	in := &lambda.DeleteFunctionInput{FunctionName: &f.name}
	if version != "" {
		in.Qualifier = &version
	}
	if _, err := f.client.DeleteFunction(context.Background(), in); err != nil {
		f.t.Fatalf("delete: %v", err)
	}
}

// leftovers is what a server holds of a function's snapshots: records, manifests, cached files, what is being made,
// lives, environments.
func (f *deployed) leftovers() (left []string) {
	f.t.Helper()
	s := f.node.snapshots.Inside()
	records, err := s.Records.List(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	mine := func(id snapshot.Version) bool { return strings.HasSuffix(string(id.Function), ":"+f.name) }
	for _, r := range records {
		if mine(r.Version) {
			left = append(left, "record of "+string(r.Version.Number)+", "+r.State.String())
		}
	}
	for _, m := range s.Store.List() {
		if mine(m.Key.Version) {
			left = append(left, "snapshot "+string(m.ID))
		}
	}
	for _, id := range s.Lives {
		if mine(id) {
			left = append(left, "life of "+string(id.Number))
		}
	}
	for _, e := range f.node.pool.Environments() {
		if e.Function == f.name {
			left = append(left, "environment "+e.ID+" "+e.State)
		}
	}
	return left
}

// files are those of a folder of the snapshots.
func (s *server) files(folder string) (names []string) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.node.cfg.DataDir, "snapshots", folder), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// privateServer is one whose folder of snapshots belongs to the test alone.
func privateServer(t *testing.T) *server {
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, "gvisor", dir)
	t.Cleanup(func() { s.node.Close(context.Background()) })
	return s
}

// A function, or a version, that is deleted while its first snapshot is made: nothing of it runs, and nothing stays,
// not even after a restart. Another function has the same package, so that it could be read still.
func TestDeletedWhileItsSnapshotIsMade(t *testing.T) {
	t.Parallel()
	s := privateServer(t)
	other := s.js(slowToMake)
	for _, p := range makingPhases() {
		for _, number := range []string{"", "1"} {
			if number != "" && p.name != "Init" && p.name != "verify" {
				continue // a version's deletion takes the same way
			}
			t.Run(p.name+" "+number, func(t *testing.T) {
				s.t = t
				f := s.js(slowToMake, snapStart, memory(512))
				f.begin()
				f.reach(p, "1")
				f.delete(number)
				if left := f.leftovers(); len(left) > 0 {
					t.Errorf("when the deletion has returned there is still: %v", left)
				}
				if files := s.files("making"); len(files) > 0 {
					t.Errorf("still being made: %v", files)
				}
				if files := s.files("cache"); len(files) > 0 {
					t.Errorf("plain memory stays: %v", files)
				}
				if n := s.node.snapshots.Inside().Makers; n > 0 {
					t.Errorf("%d environments make or verify", n)
				}
				initialised, restored := f.count("initialised"), f.count("restored")
				if restored > 0 && p.name != "store" && p.name != "verify" {
					t.Error("it was made to its end")
				}
				f.once("its pages stay", func() bool { return len(s.files(filepath.Join("store", "pack"))) == 0 })
				if number != "" { // the function lives on, and so does the number's successor
					if got := f.begin(); got != "2" {
						t.Errorf("the next version is %s", got)
					}
					f.once("version 2 does not become active", func() bool { return f.state("2") == types.StateActive })
					f.delete("")
				}
				want := initialised
				if number != "" {
					want++
				}
				if n := f.count("initialised"); n != want {
					t.Errorf("Init ran %d times, want %d", n, want)
				}
				if n := f.count("restored"); number == "" && n != restored {
					t.Errorf("it was restored %d times after its deletion", n-restored)
				}
				f.once("its pages stay", func() bool { return len(s.files(filepath.Join("store", "pack"))) == 0 })
			})
		}
	}
	s.t = t
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	*s = *openServer(t, "gvisor", s.node.cfg.DataDir)
	if list := s.node.snapshots.List(); len(list) > 0 {
		t.Errorf("after a restart there is %+v", list)
	}
	(&deployed{s, other.name}).invoke(`{}`).ok(t)
}

// A deletion does not wait for Init to end by itself.
func TestADeletionEndsALongInit(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`require('fs').writeSync(1, 'initialised\n'); const end = Date.now() + 60000; while (Date.now() < end); exports.handler = async () => 1`, snapStart)
	f.begin()
	f.once("no Init", func() bool { return f.count("initialised") > 0 })
	f.delete("1")
	if left := f.leftovers(); len(left) > 0 || f.count("INIT_REPORT") > 0 {
		t.Errorf("when the deletion has returned there is still: %v", left)
	}
}

func (f *deployed) state(version string) types.State {
	f.t.Helper()
	c, err := f.client.GetFunctionConfiguration(context.Background(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name, Qualifier: &version})
	if err != nil {
		f.t.Fatal(err)
	}
	return c.State
}

// A refresh of a version that is deleted meanwhile returns and says so, and the version's snapshot does not come back.
func TestDeletedWhileItIsRefreshed(t *testing.T) {
	t.Parallel()
	s := privateServer(t)
	for _, number := range []string{"", "1"} {
		for _, p := range makingPhases() {
			if p.name == "store" || number != "" && p.name != "Init" { // packs of the first generation are there; a version's deletion takes the same way
				continue
			}
			t.Run(p.name+" "+number, func(t *testing.T) {
				s.t = t
				f := s.js(slowToMake, snapStart, memory(512))
				if c := f.publish(); c.State != types.StateActive {
					t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
				}
				f.invokeVersion("1", `{}`).ok(t)
				wasInit, wasRestored := f.count("initialised"), f.count("restored")
				refreshed := make(chan error, 1)
				go func() {
					_, err := s.node.snapshots.Refresh(context.Background(), f.name+":1")
					refreshed <- err
				}()
				f.once("no refresh begins", func() bool { return f.snap("1").State != "current" })
				f.once("not in phase "+p.name, func() bool {
					switch p.name {
					case "Init":
						return f.count("initialised") > wasInit
					case "verify":
						return f.count("restored") > wasRestored
					}
					return p.of(f, "1")
				})
				f.delete(number)
				select {
				case err := <-refreshed:
					if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "was deleted meanwhile") {
						t.Errorf("the refresh says: %v", err)
					}
				case <-time.After(time.Minute):
					t.Fatal("the refresh of a deleted version does not return")
				}
				f.once("environments of the deleted version stay", func() bool { return len(f.leftovers()) == 0 })
				f.once("its pages stay", func() bool { return len(s.files(filepath.Join("store", "pack"))) == 0 })
				if files := append(s.files("cache"), s.files("making")...); len(files) > 0 {
					t.Errorf("plain memory stays: %v", files)
				}
				if number != "" {
					f.delete("")
				}
			})
		}
	}
}

// A function that is created again under the same name, at once, has nothing of the one before: its own Init, its own
// record, its own base.
func TestDeletedAndCreatedAgain(t *testing.T) {
	t.Parallel()
	s := privateServer(t)
	for _, p := range makingPhases() {
		t.Run(p.name, func(t *testing.T) {
			s.t = t
			f := s.js(slowToMake, snapStart, memory(512))
			f.begin()
			f.reach(p, "1")
			in := &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(installed(t, s, "nodejs")), Handler: aws.String("index.handler"),
				Role: aws.String("arn:aws:iam::000000000000:role/r"), MemorySize: aws.Int32(512), Publish: true, SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions},
				Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `console.log('second life'); exports.handler = async () => 'second'`})}}
			var created error
			gone := make(chan struct{})
			go func() { // as soon as it can be, which is before the deletion has returned
				defer close(gone)
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
					if _, created = s.client.CreateFunction(context.Background(), in); created == nil {
						return
					}
				}
			}()
			f.delete("")
			<-gone
			if created != nil {
				t.Fatal(created)
			}
			f.once("version 1 does not become active", func() bool { return f.state("1") == types.StateActive })
			if got := f.invokeVersion("1", `{}`).ok(t); got != `"second"` {
				t.Errorf("version 1 answers %s", got)
			}
			if sn := f.snap("1"); sn.Generation != 1 || sn.Failures != 0 || sn.LastError != "" {
				t.Errorf("its snapshot knows of another life: %+v", sn)
			}
			var ids []snapshot.ID
			for _, m := range s.node.snapshots.Inside().Store.List() {
				ids = append(ids, m.ID)
			}
			if want := snapshot.ID(f.snap("1").ID); !slices.Equal(ids, []snapshot.ID{want}) {
				t.Errorf("the store has %v, the record %v", ids, want)
			}
			if n := f.count("second life"); n != 1 {
				t.Errorf("Init of the second one ran %d times", n)
			}
			f.delete("")
			f.once("it stays", func() bool { return len(f.leftovers()) == 0 })
		})
	}
}

// Snapshots of $LATEST are made in the background; those of a function that is deleted meanwhile are not, whoever is
// still answered by it.
func TestDeletedWhileALatestSnapshotIsMade(t *testing.T) {
	t.Parallel()
	s := privateServer(t)
	for _, p := range makingPhases() {
		if p.name == "before Init" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			s.t = t
			f := s.js(slowToMake, memory(512), tags(map[string]string{function.TagSnapStartLatest: "on"}))
			f.invoke(`{}`).ok(t)
			was := f.count("initialised")
			f.once("not in phase "+p.name, func() bool { return f.count("initialised") > was && p.of(f, function.Latest) })
			f.delete("")
			f.once("it stays", func() bool { return len(f.leftovers()) == 0 && len(s.files(filepath.Join("store", "pack"))) == 0 })
			n := f.count("initialised")
			f.node.snapshots.Look(time.Now().Add(time.Hour)) // what comes to rest is made then
			if left := f.leftovers(); len(left) > 0 || f.count("initialised") != n {
				t.Errorf("it comes back: %v, Init ran %d times more", left, f.count("initialised")-n)
			}
		})
	}
}
