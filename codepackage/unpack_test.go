package codepackage

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// member is one entry of a test's package.
type member struct {
	name    string
	content string
	mode    fs.FileMode // 0: none at all, as made on Windows
	maker   uint16      // upper byte of "version made by"; 3 is Unix
	edit    func(*zip.FileHeader)
}

var packed = time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)

func file(name, content string) member { return member{name: name, content: content, mode: 0o644} }
func link(name, target string) member {
	return member{name: name, content: target, mode: fs.ModeSymlink | 0o777}
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: packed}
		if m.mode != 0 {
			h.SetMode(m.mode)
		}
		if m.maker != 0 {
			h.CreatorVersion = m.maker << 8
		}
		if m.edit != nil {
			m.edit(h)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(m.name, "/") {
			if _, err := w.Write([]byte(m.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree tells what lies below dir, a line for each.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			fmt.Fprintf(&b, "%s/ %o\n", rel, info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			fmt.Fprintf(&b, "%s -> %s\n", rel, target)
		default:
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %o %q\n", rel, info.Mode().Perm(), content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestUnpack(t *testing.T) {
	cases := []struct {
		name    string
		members []member
		want    string
	}{
		{"files and folders", []member{file("index.js", "x"), {name: "lib/", mode: fs.ModeDir | 0o700}, file("lib/a.js", "y")},
			"index.js 644 \"x\"\nlib/ 755\nlib/a.js 644 \"y\"\n"},
		{"folders that have no entry", []member{file("a/b/c/d", "x")}, "a/ 755\na/b/ 755\na/b/c/ 755\na/b/c/d 644 \"x\"\n"},
		{"executable bits stay", []member{{name: "bootstrap", content: "#!", mode: 0o755}, {name: "x", mode: 0o711}, {name: "y", mode: 0o600}},
			"bootstrap 755 \"#!\"\nx 755 \"\"\ny 644 \"\"\n"},
		{"nobody's bits: everybody reads", []member{{name: "secret", mode: 0o200}}, "secret 644 \"\"\n"},
		{"an archive made on Windows has no bits: executable", []member{{name: "bootstrap", content: "x"}}, "bootstrap 755 \"x\"\n"},
		{"an archive made on Windows with its slashes", []member{{name: `lib\a.js`, content: "x", mode: 0, maker: 0, edit: func(h *zip.FileHeader) { h.CreatorVersion = 20 }}},
			"lib/ 755\nlib/a.js 755 \"x\"\n"},
		{"a backslash is a letter elsewhere", []member{file(`a\b`, "x")}, "a\\b 644 \"x\"\n"},
		{"set-user bits go", []member{{name: "su", mode: fs.ModeSetuid | fs.ModeSetgid | 0o755}}, "su 755 \"\"\n"},
		{"of duplicates the last wins", []member{file("a", "first"), file("b", ""), file("a", "last")}, "a 644 \"last\"\nb 644 \"\"\n"},
		{"a folder listed twice", []member{{name: "d/", mode: fs.ModeDir | 0o755}, {name: "d/", mode: fs.ModeDir | 0o755}, file("d/x", "")}, "d/ 755\nd/x 644 \"\"\n"},
		{"names written with dots and double slashes", []member{file("./a//b/./c", "x"), {name: "./", mode: fs.ModeDir | 0o755}}, "a/ 755\na/b/ 755\na/b/c 644 \"x\"\n"},
		{"names that only look like traversal", []member{file("..a", ""), file("a../b", ""), file("...", "")}, "... 644 \"\"\n..a 644 \"\"\na../ 755\na../b 644 \"\"\n"},
		{"a link inside", []member{file("lib/real.so.1", "x"), link("lib/real.so", "real.so.1"), link("top", "lib/../lib/real.so")},
			"lib/ 755\nlib/real.so -> real.so.1\nlib/real.so.1 644 \"x\"\ntop -> lib/../lib/real.so\n"},
		{"a link to nothing inside", []member{link("a", "b/c")}, "a -> b/c\n"},
		{"links in a circle lead nowhere", []member{link("a", "b"), link("b", "a")}, "a -> b\nb -> a\n"},
		{"a link to a folder", []member{file("d/e/x", ""), link("l", "d/e"), link("m", "l/../e/x")}, "d/ 755\nd/e/ 755\nd/e/x 644 \"\"\nl -> d/e\nm -> l/../e/x\n"},
		{"stored without compression", []member{{name: "a", content: "x", mode: 0o644, edit: func(h *zip.FileHeader) { h.Method = zip.Store }}}, "a 644 \"x\"\n"},
		{"names that are not UTF-8", []member{file("\xff\xfe", "")}, "\xff\xfe 644 \"\"\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := archive(t, c.members...)
			if err := unpack(dir, bytes.NewReader(b), int64(len(b)), MaxBytes); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestTimesAreKept(t *testing.T) {
	dir := t.TempDir()
	b := archive(t, member{name: "d/", mode: fs.ModeDir | 0o755}, file("d/a", "x"), member{name: "d/e/", mode: fs.ModeDir | 0o755}, file("d/e/f", ""))
	if err := unpack(dir, bytes.NewReader(b), int64(len(b)), MaxBytes); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"d", "d/a", "d/e", "d/e/f"} {
		info, err := os.Stat(filepath.Join(dir, p))
		if err != nil || !info.ModTime().Equal(packed) {
			t.Errorf("%s is of %v, %v", p, info.ModTime(), err)
		}
	}
}

// patched rewrites the central directory's first entry.
func patched(b []byte, edit func(central []byte)) []byte {
	b = bytes.Clone(b)
	edit(b[bytes.Index(b, []byte("PK\x01\x02")):])
	return b
}

func TestUnpackRefuses(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	many := make([]member, 0, 11)
	for i := range 11 {
		many = append(many, file(fmt.Sprint(i), zeros))
	}
	good := archive(t, file("a", "content"))
	cases := []struct {
		name  string
		zip   []byte
		limit int64
		want  string // the reason; empty: ErrTooLarge
	}{
		{"garbage, C-028", []byte("this is no zip"), MaxBytes, "not a zip archive"},
		{"a tar", append([]byte("a"), make([]byte, 1023)...), MaxBytes, "not a zip archive"},
		{"half a zip", good[:len(good)/2], MaxBytes, "not a zip archive"},
		{"a parent", archive(t, file("../x", "")), MaxBytes, "leaves the package"},
		{"a parent in the middle", archive(t, file("a/../../x", "")), MaxBytes, "leaves the package"},
		{"a parent that stays inside", archive(t, file("a/../x", "")), MaxBytes, "leaves the package"},
		{"a parent with backslashes from Windows", archive(t, member{name: `..\x`, edit: func(h *zip.FileHeader) { h.CreatorVersion = 20 }}), MaxBytes, "leaves the package"},
		{"an absolute name", archive(t, file("/etc/passwd", "")), MaxBytes, "absolute name"},
		{"a drive", archive(t, member{name: `c:\x`, edit: func(h *zip.FileHeader) { h.CreatorVersion = 20 }}), MaxBytes, "absolute name"},
		{"a NUL", archive(t, file("a\x00b", "")), MaxBytes, "NUL"},
		{"too long a name", archive(t, file(strings.Repeat("a", 300), "")), MaxBytes, "too long a name"},
		{"too long a path", archive(t, file(strings.Repeat("a/", 1500)+"b", "")), MaxBytes, "too long a name"},
		{"an absolute link", archive(t, link("a", "/etc/passwd")), MaxBytes, "link that leaves"},
		{"a link to the parent", archive(t, link("a", "..")), MaxBytes, "link that leaves"},
		{"a deep link that leaves", archive(t, link("a/b/c", "../../../x")), MaxBytes, "link that leaves"},
		{"links that leave together", archive(t, link("a/b/c", "../.."), link("d", "a/b/c/../x")), MaxBytes, "link that leaves"},
		{"a link that leaves by way of a link to here", archive(t, link("a", "."), link("b", "a/../x")), MaxBytes, "link that leaves"},
		{"a link without a target", archive(t, link("a", "")), MaxBytes, "usable target"},
		{"a link with too long a target", archive(t, link("a", strings.Repeat("a", 5000))), MaxBytes, "usable target"},
		{"a file below a link", archive(t, link("a", "b"), file("a/x", "")), MaxBytes, "no folder"},
		{"a file below a file", archive(t, file("a", ""), file("a/x", "")), MaxBytes, "no folder"},
		{"a file that is a folder too", archive(t, file("a", ""), member{name: "a/", mode: fs.ModeDir | 0o755}), MaxBytes, "both a file and a folder"},
		{"a device", archive(t, member{name: "null", mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}), MaxBytes, "special file"},
		{"a pipe", archive(t, member{name: "p", mode: fs.ModeNamedPipe | 0o666}), MaxBytes, "special file"},
		{"a socket", archive(t, member{name: "s", mode: fs.ModeSocket | 0o666}), MaxBytes, "special file"},
		{"an encrypted entry", patched(good, func(c []byte) { c[8] |= 1 }), MaxBytes, "encrypted"},
		{"an unknown compression", patched(good, func(c []byte) { c[10] = 99 }), MaxBytes, "other than deflate"},
		{"a wrong checksum", patched(good, func(c []byte) { c[16]++ }), MaxBytes, "checksum"},
		{"content that is longer than it says", patched(archive(t, file("a", zeros)), func(c []byte) { binary.LittleEndian.PutUint32(c[24:], 10) }), MaxBytes, "zip: "},
		{"a bomb that says so", archive(t, many...), 10 << 20, ""},
		{"a bomb that lies about its size", patched(archive(t, file("a", zeros)), func(c []byte) { binary.LittleEndian.PutUint32(c[24:], 10) }), 1 << 19, "zip: "},
		{"a bomb of duplicates", archive(t, file("a", zeros), file("a", zeros)), 1 << 20, ""},
		{"a file exactly too large by one", archive(t, file("a", zeros+"x")), 1 << 20, ""},
		{"a file that says it is larger than everything", patched(good, func(c []byte) { binary.LittleEndian.PutUint32(c[24:], 0xfffffff0) }), MaxBytes, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := unpack(t.TempDir(), bytes.NewReader(c.zip), int64(len(c.zip)), c.limit)
			var invalid *InvalidError
			switch {
			case c.want == "":
				if !errors.Is(err, ErrTooLarge) {
					t.Errorf("error %v, want ErrTooLarge", err)
				}
			case !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if err := unpack(t.TempDir(), bytes.NewReader(archive(t)), int64(len(archive(t))), MaxBytes); !errors.Is(err, ErrEmpty) {
		t.Errorf("nothing in it: %v", err)
	}
	if b := archive(t, member{name: "./", mode: fs.ModeDir | 0o755}); !errors.Is(unpack(t.TempDir(), bytes.NewReader(b), int64(len(b)), MaxBytes), ErrEmpty) {
		t.Error("only the root in it: no error")
	}
}

func TestTooManyEntries(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range maxEntries + 1 {
		if _, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i), Method: zip.Store}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var invalid *InvalidError
	if err := unpack(t.TempDir(), bytes.NewReader(b.Bytes()), int64(b.Len()), MaxBytes); !errors.As(err, &invalid) {
		t.Errorf("error %v", err)
	}
	// Few entries, many folders.
	deep := make([]member, 0, 120)
	for i := range 120 {
		deep = append(deep, file(fmt.Sprintf("%d/", i)+strings.Repeat("a/", 900)+"b", ""))
	}
	zb := archive(t, deep...)
	if err := unpack(t.TempDir(), bytes.NewReader(zb), int64(len(zb)), MaxBytes); !errors.As(err, &invalid) {
		t.Errorf("many folders: error %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, file("a/b", "x"), link("a/c", "b"), member{name: "d/", mode: fs.ModeDir | 0o755}))
	f.Add(archive(f, link("a", "."), link("b", "a/../x"), file("c", "y")))
	f.Add(archive(f, file(`..\x`, ""), file("/x", ""), file("a", "1"), file("a", "2")))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		const limit = 1 << 20
		err := unpack(dir, bytes.NewReader(b), int64(len(b)), limit)
		list, lerr := os.ReadDir(outer)
		if lerr != nil || len(list) != 1 {
			t.Fatalf("something was written outside: %v", list)
		}
		if err != nil {
			return
		}
		var total int64
		walkErr := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || p == dir {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			switch mode := info.Mode(); {
			case mode.IsDir() && mode.Perm() == 0o755:
			case mode.IsRegular() && (mode.Perm() == 0o755 || mode.Perm() == 0o644):
				total += info.Size()
			case mode&fs.ModeSymlink != 0:
				if end, err := filepath.EvalSymlinks(p); err == nil && end != dir && !strings.HasPrefix(end, dir+"/") {
					t.Fatalf("%s leads to %s", p, end)
				}
			default:
				t.Fatalf("%s has the mode %v", p, mode)
			}
			return nil
		})
		if walkErr != nil {
			t.Fatal(walkErr)
		}
		if total > limit {
			t.Fatalf("%d bytes were written", total)
		}
	})
}
