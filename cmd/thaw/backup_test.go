package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/admin"
)

// The examples of backup and restore: a running server is backed up and not restored; when it has ended, it is.
func TestBackupAndRestoreExamples(t *testing.T) {
	in := t.TempDir()
	elsewhere := func(words []string) []string { // not in the source tree
		words[len(words)-1] = filepath.Join(in, words[len(words)-1])
		return words[1:]
	}
	example := elsewhere(shellWords(t, backupCommand(&app{}).Example))
	back := elsewhere(shellWords(t, restoreCommand(&app{}).Example))
	var dir string
	t.Run("server", func(t *testing.T) {
		dir = serving(t)
		deploy(t, dir, "hello")
		r := thaw(t.Context(), append(example, "--data-dir", dir)...)
		if r.code != exitOK || !strings.Contains(r.out, "1 code packages") {
			t.Fatalf("exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
		}
		if r = thaw(t.Context(), append(example, "--data-dir", dir)...); r.code != exitMisuse || !strings.Contains(r.words, "--force") {
			t.Errorf("again: exit %d, stderr %q", r.code, r.words)
		}
		if r = thaw(t.Context(), append(back, "--data-dir", dir)...); r.code != exitFailed || !strings.Contains(r.words, "stop it first") {
			t.Errorf("restore under a server: exit %d, stderr %q", r.code, r.words)
		}
		// The test's end removes the folder: the rest works on a new one.
	})
	fresh := filepath.Join(t.TempDir(), "fresh")
	r := thaw(t.Context(), append(back, "--data-dir", fresh, "-o", "json")...)
	if r.code != exitOK || !strings.Contains(r.out, `"functions": 1`) {
		t.Fatalf("restore: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	if r = thaw(t.Context(), "restore", "--accept-loss", "--data-dir", fresh); r.code != exitOK || !strings.Contains(r.out, "nothing to accept") {
		t.Errorf("accept: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	for _, f := range []string{"journal", "mark"} {
		if err := os.Remove(filepath.Join(fresh, "records", f)); err != nil {
			t.Fatal(err)
		}
	}
	if r = thaw(t.Context(), "restore", "--accept-loss", "--data-dir", fresh); r.code != exitOK || !strings.HasPrefix(r.out, "accepted: records may be missing") {
		t.Errorf("accept of a loss: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	if r = thaw(t.Context(), "restore", "--accept-loss", "--data-dir", fresh); !strings.Contains(r.out, "nothing to accept") {
		t.Errorf("accept again: stdout %q, stderr %q", r.out, r.words)
	}
	if r = thaw(t.Context(), "backup", filepath.Join(in, "stopped.tar"), "--data-dir", fresh); r.code != exitOK {
		t.Errorf("backup without a server: exit %d, stderr %q", r.code, r.words)
	}
	if r = thaw(t.Context(), "restore"); r.code != exitMisuse {
		t.Errorf("restore of nothing: exit %d, stderr %q", r.code, r.words)
	}
	if _, err := admin.Dial(fresh).Health(context.Background()); err == nil {
		t.Error("a server runs")
	}
}
