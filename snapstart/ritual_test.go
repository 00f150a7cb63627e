package snapstart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/sandbox"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// The steps are those of snapshot's package comment.
func TestTheRitualIsTheOneOfTheBook(t *testing.T) {
	t.Parallel()
	book, err := os.ReadFile("../snapshot/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^//\t\d (\w+) `).FindAllStringSubmatch(string(book), -1) {
		want = append(want, m[1])
	}
	for _, st := range (&making{}).ritual() {
		got = append(got, st.name)
	}
	if len(want) != 8 || !slices.Equal(got, want) {
		t.Errorf("the steps are %v, the book has %v", got, want)
	}
}

// Whatever step fails, what was done before is undone in reverse, and what was taken is given back.
func TestInOrder(t *testing.T) {
	t.Parallel()
	const n = 4
	for fails := range n + 1 {
		var did []string
		var steps []step
		for i := range n {
			note := func(what string) { did = append(did, fmt.Sprint(what, i)) }
			steps = append(steps, step{name: fmt.Sprint(i), undo: func(context.Context) { note("undo") }, end: func() { note("end") },
				do: func(context.Context) error {
					if i == fails {
						return errors.New("no")
					}
					note("do")
					return nil
				}})
		}
		var at string
		err := inOrder(t.Context(), steps, func(step string, _ error) { at = step })
		var want []string
		for i := range min(fails, n) {
			want = append(want, fmt.Sprint("do", i))
		}
		for i := min(fails, n-1); i >= 0; i-- {
			if fails < n && i < fails {
				want = append(want, fmt.Sprint("undo", i))
			}
			want = append(want, fmt.Sprint("end", i))
		}
		if !slices.Equal(did, want) || (err != nil) != (fails < n) || fails < n && at != fmt.Sprint(fails) {
			t.Errorf("step %d fails: %v at %q, %v; want %v", fails, err, at, did, want)
		}
	}
}

// A first generation: made, verified, current; nothing is left of what it took.
func TestFirstGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		v := published(1)
		b.make(v, nil)
		r := b.record(v)
		if r.State != snapshot.Current || r.Current == nil || r.Current.Generation != 1 || r.Current.MakeSeconds != 1 || r.Next != nil {
			t.Errorf("%+v", r)
		}
		b.holds(v)
		if inits, restores, copies, _ := b.envs.get(); inits != 1 || restores != 1 || copies != 0 {
			t.Errorf("%d times Init, %d restores, %d copies live", inits, restores, copies)
		}
		if left, _ := os.ReadDir(b.disk.making()); len(left) > 0 || len(b.makers) > 0 {
			t.Errorf("%d folders and %d places among the makers are still taken", len(left), len(b.makers))
		}
		restore, release, err := b.Lend(t.Context(), v)
		if err != nil || restore == nil || restore.ID != string(r.Current.ID) || !b.Ready(v) || !b.Optimized(v) {
			t.Fatalf("nothing is lent: %+v, %v", restore, err)
		}
		part, err := restore.Source.Open(fakeParts[0])
		if err != nil || part.Size != 8*snapshot.PageSize {
			t.Errorf("%+v, %v", part, err)
		}
		part.File.Close()
		release()
	})
}

// Where memory may come late, nobody waits for files that are not there: they are read from the store, and made for the next.
func TestLateMemory(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, func(o *Options) { o.LateMemory = late })
			v := published(1)
			b.make(v, nil)
			id := b.record(v).Current.ID
			for _, lost := range []bool{false, true, false} {
				if lost {
					b.cache.Drop(id)
				}
				restore, release, err := b.Lend(t.Context(), v)
				if err != nil || restore == nil {
					t.Fatalf("nothing is lent: %v", err)
				}
				for _, name := range fakeParts {
					part, err := restore.Source.Open(name)
					if err != nil || part.Size != 8*snapshot.PageSize || (part.File == nil) != (late && lost) {
						t.Errorf("late %v, without files %v: %+v, %v", late, lost, part, err)
					}
					if part.File != nil {
						part.File.Close()
						continue
					}
					page, want := make([]byte, 100), snapshottest.Memory(1, 8)[5*snapshot.PageSize+50:]
					if _, err := part.Reader.ReadAt(page, 5*snapshot.PageSize+50); err != nil || !bytes.Equal(page, want[:100]) {
						t.Errorf("%s has other bytes, %v", name, err)
					}
				}
				release()
				synctest.Wait() // the files are made
				if !b.cache.Has(id) {
					t.Errorf("late %v, without files %v: there are none for the next", late, lost)
				}
			}
		})
	}
}

// A snapshot whose damage shows when a sandbox runs from it already is not lent again.
func TestLateMemoryIsDamaged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(o *Options) { o.LateMemory = true })
		v := published(1)
		b.make(v, nil)
		first := b.record(v).Current.ID
		b.cache.Drop(first)
		packs, err := filepath.Glob(filepath.Join(b.disk.storeDir(), "pack", "*"))
		if err != nil || len(packs) == 0 {
			t.Fatalf("the store has no packs, %v", err)
		}
		restore, release, err := b.Lend(t.Context(), v)
		if err != nil || restore == nil {
			t.Fatalf("nothing is lent: %v", err)
		}
		defer release()
		part, err := restore.Source.Open(fakeParts[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packs {
			if err := errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, []byte("damaged"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := part.Reader.ReadAt(make([]byte, 10), 0); err == nil {
			t.Fatal("damaged packs were read")
		}
		synctest.Wait()
		if r := b.record(v); r.Current != nil && r.Current.ID == first {
			t.Errorf("it is still current: %+v", r)
		}
	})
}

// The pool takes the verified copy, if it wants one and the copy knows the same end as the record.
func TestTheVerifiedCopyIsAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.envs.wants = true
		b.make(published(1), map[string]string{snapshot.TagRefresh: "10m"})
		if _, _, copies, adopted := b.envs.get(); copies != 1 || adopted != 1 {
			t.Errorf("%d copies live, %d were adopted", copies, adopted)
		}
	})
}

// What is wrong with a function makes its version Failed at once, with AWS's code; what is wrong with the platform is
// tried again.
func TestAFirstGenerationThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(*fakeEnvironments)
		code   string
		inits  int
		says   string
		stages int
	}{
		"init":    {func(f *fakeEnvironments) { f.saveErr = &execenv.InitFailedError{Timeout: true} }, "FunctionError.InitTimeout", 1, "", 0},
		"restore": {func(f *fakeEnvironments) { f.copyErr = &execenv.RestoreError{} }, "FunctionError", 1, "", 0},
		"memory": {func(f *fakeEnvironments) {
			f.saveErr = &sandbox.SnapshotError{Stage: sandbox.StageMemory, Err: errors.New("full")}
		}, "FunctionError.InitResourceExhausted", 1, "full", 0},
		"platform": {func(f *fakeEnvironments) { f.copyErr = errors.New("no sandbox") }, "InternalError", attempts, "no sandbox", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, nil)
				c.set(b.envs)
				v := published(1)
				reason, code, err := b.Make(t.Context(), v, nil)
				if inits, _, _, _ := b.envs.get(); err != nil || code != c.code || !strings.Contains(reason, c.says) || inits != c.inits {
					t.Errorf("%s %s, %v, after %d times Init", code, reason, err, inits)
				}
				if r := b.record(v); r.State != snapshot.Failed || r.LastError == "" {
					t.Errorf("%+v", r)
				}
				b.holds(v)
				if left, _ := os.ReadDir(b.disk.making()); len(left) > 0 || len(b.makers) > 0 {
					t.Errorf("%d folders and %d places among the makers are still taken", len(left), len(b.makers))
				}
			})
		})
	}
}

// A policy's refresh: the next generation is current before the one before it ends; the environments of the old one go.
func TestRefreshByPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		v := published(1)
		b.make(v, map[string]string{snapshot.TagRefresh: "1m"})
		b.Used(v)
		b.pool.told()
		for range 5 * 60 {
			time.Sleep(Tick)
			synctest.Wait()
			if !b.Ready(v) {
				t.Fatalf("there is no usable generation: %+v", b.record(v))
			}
		}
		r := b.record(v)
		if r.Current.Generation < 5 || r.Current.Generation > 7 || r.Failures > 0 {
			t.Errorf("after five minutes: %+v", r)
		}
		b.holds(v)
		if kept, last := b.pool.told(); len(kept) == 0 || last != string(r.Current.ID) || slices.Contains(kept, "") {
			t.Errorf("the pool was told to keep %v, current is %s", kept, r.Current.ID)
		}
	})
}

// Refreshes that fail leave the old generation until its end; then Init runs, until one can be made again.
func TestRefreshesThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		v := published(1)
		b.make(v, map[string]string{snapshot.TagRefresh: "1m"})
		first := b.record(v).Current
		b.envs.set(func(f *fakeEnvironments) { f.saveErr = errors.New("the origin is down") })
		for b.Ready(v) {
			time.Sleep(Tick)
			synctest.Wait()
		}
		if r := b.record(v); time.Now().Before(first.Expires) || r.Failures < 2 || r.LastError != "the origin is down" {
			t.Errorf("at %v: %+v", time.Now(), r)
		}
		time.Sleep(2 * Tick)
		synctest.Wait()
		r := b.record(v)
		if r.State != snapshot.Lapsed && r.State != snapshot.Remaking {
			t.Errorf("past its end: %v", r.State)
		}
		if _, last := b.pool.told(); last != "" {
			t.Errorf("the pool keeps %s", last)
		}
		b.holds(v)
		b.envs.set(func(f *fakeEnvironments) { f.saveErr = nil })
		for !b.Ready(v) {
			time.Sleep(Tick)
			synctest.Wait()
		}
		if r := b.record(v); r.State != snapshot.Current || r.Failures != 0 {
			t.Errorf("%+v", r)
		}
		b.holds(v)
	})
}

// What a making is of may change meanwhile. It then ends at once, and another one is made.
func TestAMakingIsAborted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		v := published(1)
		b.make(v, nil)
		b.envs.set(func(f *fakeEnvironments) { f.takes = time.Hour })
		refreshed := make(chan error)
		go func() {
			_, err := b.Refresh(t.Context(), "orders:1")
			refreshed <- err
		}()
		time.Sleep(time.Minute)
		b.envs.set(func(f *fakeEnvironments) { f.identity, f.takes = "other", time.Second })
		if restore, _, err := b.Lend(t.Context(), v); restore != nil || err != nil {
			t.Errorf("it is lent under another key: %v", err)
		}
		began := time.Now()
		if err := <-refreshed; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the other one was current after %v", took)
		}
		if inits, _, copies, _ := b.envs.get(); inits != 3 || copies != 0 || !b.Ready(v) {
			t.Errorf("%d times Init, %d copies live", inits, copies)
		}
		b.holds(v)
	})
}

// A deletion ends a making where it is, and nothing of it is left.
func TestDeletedWhileItIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.envs.takes = time.Hour
		v := published(1)
		made := make(chan error)
		go func() {
			_, _, err := b.Make(t.Context(), v, nil)
			made <- err
		}()
		time.Sleep(time.Minute)
		b.Forget(t.Context(), v.UnqualifiedARN(), 1, "")
		if err := <-made; !errors.Is(err, function.ErrNotFound) {
			t.Errorf("it was made: %v", err)
		}
		if list, err := b.records.List(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("its record is there: %+v, %v", list, err)
		}
		b.holds(v)
		if in := b.Inside(); len(in.Lives) > 0 || in.Makers > 0 {
			t.Errorf("%+v", in)
		}
	})
}

// A version that nobody invokes for long becomes Inactive, and wakes with another generation. The clock is the injected
// one: it jumps.
func TestIdleByTheInjectedClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := make(chan time.Duration, 1)
		ahead <- 0
		b := start(t, func(o *Options) {
			o.Now = func() time.Time { d := <-ahead; ahead <- d; return time.Now().Add(d) }
		})
		inactive := 0
		b.Serve(func(context.Context, *function.Version) error { inactive++; return nil })
		v := published(1)
		b.make(v, nil)
		b.pool.provisioned = true
		<-ahead
		ahead <- snapshot.InactiveAfter
		time.Sleep(5 * Tick)
		synctest.Wait()
		if r := b.record(v); inactive > 0 || r.State != snapshot.Current {
			t.Errorf("somebody pays for it, and yet it is %v", r.State)
		}
		b.pool.provisioned = false
		<-ahead
		ahead <- 3 * snapshot.InactiveAfter
		time.Sleep(5 * Tick)
		synctest.Wait()
		if r := b.record(v); inactive != 1 || r.State != snapshot.Inactive {
			t.Fatalf("the control plane was told %d times, and it is %v", inactive, r.State)
		}
		b.holds(v)
		b.make(v, nil)
		if r := b.record(v); r.State != snapshot.Current || r.Current.Generation != 2 {
			t.Errorf("%+v", r)
		}
		b.holds(v)
	})
}

// The API says Inactive a moment before the record does. Whoever wakes the version in that moment gets another
// generation, not the snapshot that is about to go.
func TestWokenWhileItBecomesInactive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := make(chan time.Duration, 1)
		ahead <- 0
		b := start(t, func(o *Options) {
			o.Now = func() time.Time { d := <-ahead; ahead <- d; return time.Now().Add(d) }
		})
		v := published(1)
		b.make(v, nil)
		woken := make(chan error, 1)
		b.Serve(func(context.Context, *function.Version) error {
			go func() {
				reason, code, err := b.Make(t.Context(), v, nil)
				if err == nil && code != "" {
					err = errors.New(reason)
				}
				woken <- err
			}()
			time.Sleep(time.Second) // nothing happens meanwhile
			return nil
		})
		<-ahead
		ahead <- snapshot.InactiveAfter
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		if r := b.record(v); r.State != snapshot.Current || r.Current.Generation != 2 {
			t.Errorf("%+v", r)
		}
		b.holds(v)
	})
}

// What goes for want of disk goes whole: its environments finish, which keep the files open.
func TestWantOfDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := make(chan time.Duration, 1)
		ahead <- 0
		b := start(t, func(o *Options) {
			o.DiskBytes = 1
			o.Now = func() time.Time { d := <-ahead; ahead <- d; return time.Now().Add(d) }
		})
		first, second := published(1), published(1)
		second.Number = "2"
		b.make(first, nil)
		<-ahead
		ahead <- 2 * keepRecent
		b.pool.told()
		b.make(second, nil)
		if r := b.record(first); r.State != snapshot.Shelved || r.Current != nil {
			t.Errorf("%+v", r)
		}
		if kept, last := b.pool.told(); last != "" || len(kept) == 0 {
			t.Errorf("the pool keeps %v", kept)
		}
		if r := b.record(second); r.State != snapshot.Current || len(b.store.List()) != 1 {
			t.Errorf("%+v", r)
		}
		if restore, _, err := b.Lend(t.Context(), first); restore != nil || err != nil {
			t.Errorf("what went is lent: %v", err)
		}
		synctest.Wait()
		for !b.Ready(first) { // the invoke that ran Init has it made again
			time.Sleep(Tick)
		}
	})
}

// The doctor restores two copies, gives both the event, and lets both go.
func TestDoctorRestoresTwoCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.make(published(1), nil)
		d, err := b.Doctor(t.Context(), "orders:1", []byte(`{}`))
		if err != nil || len(d.Copies) != 2 {
			t.Fatalf("%+v, %v", d, err)
		}
		text := fmt.Sprint(d.Findings)
		if !strings.Contains(text, "wrote 1 and 1 log lines") || !strings.Contains(text, "random values warn") {
			t.Errorf("%s", text)
		}
		if _, restores, copies, _ := b.envs.get(); restores != 3 || copies != 0 {
			t.Errorf("%d restores, %d copies live", restores, copies)
		}
	})
}
