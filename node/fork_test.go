package node

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// forks starts workers as multiprocessing does: forked, not executed. Each sends a number back and stays until all have, and for a while.
const forks = `import multiprocessing as mp, time
mp.set_start_method('fork')
def work(conn, x, mb):
    held = bytearray(b'x') * (mb << 20)
    conn.send(x * x)
    conn.recv()
def handler(e, c):
    parts = []
    for i in range(e['n']):
        here, there = mp.Pipe()
        p = mp.Process(target=work, args=(there, i, e.get('mb', 0)))
        p.start()
        there.close()
        parts.append((p, here))
    out = [here.recv() for _, here in parts]
    time.sleep(0.8)
    for p, here in parts:
        here.send(None)
        p.join()
    return sum(out)
`

var maxMemoryUsed = regexp.MustCompile(`Max Memory Used: (\d+) MB`)

func (a answer) maxMemory(t testing.TB) int {
	t.Helper()
	m := maxMemoryUsed.FindStringSubmatch(a.log)
	if m == nil {
		t.Fatalf("no Max Memory Used in\n%s", a.log)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Forked children share what nobody writes to: with copies of 2 MiB around each written page, twelve of them were
// killed at 128 MB.
func TestForkedChildrenAreSmall(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.deploy(ready(t, s, "python3.11", "python3.12", "python3.13"), map[string]string{"index.py": forks}, memory(128), timeout(60))
	run := func(n, mb int) answer {
		t.Helper()
		a := f.tail(fmt.Sprintf(`{"n":%d,"mb":%d}`, n, mb))
		if got, want := a.ok(t), strconv.Itoa((n-1)*n*(2*n-1)/6); got != want {
			t.Errorf("%d workers answer %s; want %s", n, got, want)
		}
		t.Logf("%d workers with %d MB each: Max Memory Used %d MB", n, mb, a.maxMemory(t))
		return a
	}
	alone := run(1, 0).maxMemory(t)
	run(8, 0)
	if used := run(16, 0).maxMemory(t); used < alone+16/4 || used > alone+16*4 {
		t.Errorf("with 16 workers, Max Memory Used is %d MB; with one it was %d MB", used, alone)
	}
	// What children held counts though they are gone when the invoke ends.
	if used := run(4, 20).maxMemory(t); used < alone+4*20 {
		t.Errorf("Max Memory Used is %d MB, and four children held 20 MB each", used)
	}
	told := regexp.MustCompile(`\[thaw\] Out of memory: the function has 128 MB, its (\d+ )?processes held \d+ MB, and the (runtime was killed|environment was ended)\.`)
	for range 3 { // what is first, the guest or another page, differs
		a := f.tail(`{"n":9,"mb":30}`)
		a.failed(t, "Runtime.ExitError", "Runtime exited with error: signal: killed")
		if !told.MatchString(a.log) || !strings.Contains(a.log, "Error Type: Runtime.OutOfMemory") || a.maxMemory(t) < 128 {
			t.Errorf("the log of the kill:\n%s", a.log)
		}
	}
	run(1, 0)
}
