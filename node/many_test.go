package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/jetstream"
)

// How many versions and aliases each of many functions has.
const manyVersions, manyAliases = 20, 5

// multiply makes more functions in a data folder of one that is there, with versions and aliases, and returns all names.
func multiply(t *testing.T, dir string, n int) (names []string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := jetstream.Open(ctx, recordsOf(dir, slog.New(slog.DiscardHandler)))
	must(err)
	defer store.Close()
	var one *function.Record
	var version *function.VersionRecord
	stop, err := store.Watch(ctx, func(c function.Change) {
		if c.Function != nil {
			one = c.Function
		}
		if c.Version != nil {
			version = c.Version
		}
	})
	must(err)
	stop()
	if one == nil || version == nil {
		t.Fatal("there is no function to multiply")
	}
	names = append(names, one.Name)
	for i := range n - 1 {
		r := one.Clone()
		r.Name = fmt.Sprintf("many-%04d", i)
		r.Incarnation, err = store.Epoch(ctx)
		must(err)
		r.Epoch, r.Revision, r.Numbers, r.NextNumber, r.Aliases = r.Incarnation, 0, nil, manyVersions+1, map[function.Qualifier]function.Alias{}
		for v := range manyVersions {
			next := *version
			next.Config = version.Config.Clone()
			next.Config.Description, next.Number, next.Revision = fmt.Sprint("version ", v+1), function.NumberOf(v+1), 0
			must(store.PutVersion(ctx, r.Key, r.Incarnation, &next))
			r.Numbers = append(r.Numbers, v+1)
		}
		for a := range manyAliases {
			r.Aliases[function.Qualifier(fmt.Sprint("alias-", a))] = function.Alias{Version: function.NumberOf(a + 1), RevisionID: version.RevisionID}
		}
		must(store.Create(ctx, r))
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

// residentMiB is what a process has in memory.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nVmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// cpuOf is the processor time that a process has used. The kernel counts it in hundredths of a second.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the first is field 3 of proc(5)
	user, _ := strconv.Atoi(f[11])                                 //nolint:errcheck // the kernel's
	system, _ := strconv.Atoi(f[12])                               //nolint:errcheck // likewise
	return time.Duration(user+system) * 10 * time.Millisecond
}

// A server with many functions is there soon after its start, knows all of them, and lists them in pages. The figures are
// told, not judged: a busy machine decides about them. (THAW_TEST_FUNCTIONS is how many functions there are; make bench
// takes 1,000.)
func TestManyFunctions(t *testing.T) {
	t.Parallel()
	n := 30
	if more, err := strconv.Atoi(os.Getenv("THAW_TEST_FUNCTIONS")); err == nil {
		n = more
	}
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	f := s.js(`exports.handler = async () => 'one of many'`)
	ctx := context.Background()
	if _, err := s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	if err := s.node.Close(ctx); err != nil {
		t.Fatal(err)
	}
	names := multiply(t, dir, n)

	began := time.Now()
	c := startChild(t, "process", dir)
	ready, used := time.Since(began), cpuOf(t, c.PID())
	idle := residentMiB(t, c.PID())
	slowest := map[string]time.Duration{}
	page := func(what string, next *string, list func(marker *string) (*string, error)) {
		for {
			began := time.Now()
			marker, err := list(next)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			slowest[what] = max(slowest[what], time.Since(began))
			if next = marker; next == nil {
				return
			}
		}
	}
	var listed, all []string
	page("ListFunctions", nil, func(marker *string) (*string, error) {
		out, err := c.client.ListFunctions(ctx, &lambda.ListFunctionsInput{Marker: marker})
		if err != nil {
			return nil, err
		}
		for _, f := range out.Functions {
			listed = append(listed, *f.FunctionName)
		}
		return out.NextMarker, nil
	})
	page("ListFunctions with all versions", nil, func(marker *string) (*string, error) {
		out, err := c.client.ListFunctions(ctx, &lambda.ListFunctionsInput{Marker: marker, FunctionVersion: types.FunctionVersionAll})
		if err != nil {
			return nil, err
		}
		for _, f := range out.Functions {
			all = append(all, *f.FunctionArn)
		}
		return out.NextMarker, nil
	})
	versions, aliases := 0, 0
	one := names[len(names)/2]
	page("ListVersionsByFunction", nil, func(marker *string) (*string, error) {
		out, err := c.client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: &one, Marker: marker})
		if err != nil {
			return nil, err
		}
		versions += len(out.Versions)
		return out.NextMarker, nil
	})
	page("ListAliases", nil, func(marker *string) (*string, error) {
		out, err := c.client.ListAliases(ctx, &lambda.ListAliasesInput{FunctionName: &one, Marker: marker, MaxItems: aws.Int32(2)})
		if err != nil {
			return nil, err
		}
		aliases += len(out.Aliases)
		return out.NextMarker, nil
	})
	if !slices.Equal(listed, names) {
		t.Errorf("%d functions are listed in %d names, of %d", len(slices.Compact(slices.Clone(listed))), len(listed), n)
	}
	if want := (n-1)*(manyVersions+1) + 2; len(all) != want || len(slices.Compact(slices.Sorted(slices.Values(all)))) != want {
		t.Errorf("%d versions of all functions are listed, want %d", len(all), want)
	}
	if versions != manyVersions+1 || aliases != manyAliases {
		t.Errorf("%s has %d versions and %d aliases", one, versions, aliases)
	}
	out, err := c.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(one + ":alias-4")})
	if err != nil || string(out.Payload) != `"one of many"` || *out.ExecutedVersion != "5" {
		t.Errorf("invoke: %+v, %v", out, err)
	}
	t.Logf("%d functions with %d versions and %d aliases each: ready after %v (%v of a core), %d MiB; slowest pages %v", n, manyVersions, manyAliases, ready.Round(time.Millisecond), used, idle, slowest)
}
