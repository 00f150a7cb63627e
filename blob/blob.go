// Package blob keeps big immutable things (code packages now) by the SHA-256 of their content. It is the only package that imports
// gocloud.dev/blob, so that the folder it opens by default can become a bucket without a caller noticing.
package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// What a Store may answer besides its own failures.
var (
	ErrNotFound = errors.New("blob not found")
	ErrDamaged  = errors.New("blob is damaged") // its bytes are not those of its name
)

// Store is an open set of blobs. It is safe for use by many goroutines.
type Store struct {
	bucket *blob.Bucket
	dir    string // empty when not a folder
}

// Open opens a folder, made if missing, and removes what a write left that was never finished.
func Open(dir string) (*Store, error) {
	b, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return &Store{bucket: b, dir: dir}, nil
}

// openFolder opens a folder as a bucket for Store and Keyed: made if missing, swept of what a write never finished.
func openFolder(dir string) (*blob.Bucket, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	if err := sweep(dir); err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{
		NoTempDir:   true, // a rename must not cross file systems
		DirFileMode: 0o700,
		Metadata:    fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	return b, nil
}

// Close releases the store. Readers that are still open stay valid.
func (s *Store) Close() error { return s.bucket.Close() }

// key spreads blobs over 256 folders.
func key(sha256 string) string { return sha256[:2] + "/" + sha256 }

func valid(name string) bool {
	if len(name) != 2*sha256.Size {
		return false
	}
	return strings.Trim(name, "0123456789abcdef") == ""
}

// Put stores everything that r has and returns the lower-case hex of its SHA-256 and its size in bytes. When it returns, the blob is
// whole and on disk. What is there already is written again: that repairs a damaged one. Bytes of a reader that cannot seek are
// held in a temporary file of the folder meanwhile.
func (s *Store) Put(ctx context.Context, r io.Reader) (name string, size int64, err error) {
	seeker, ok := r.(io.ReadSeeker)
	if !ok {
		f, err := s.spool(r)
		if err != nil {
			return "", 0, fmt.Errorf("spool of a blob: %w", err)
		}
		defer func() {
			f.Close()
			os.Remove(f.Name())
		}()
		seeker = f
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	h := sha256.New()
	if _, err = io.Copy(h, seeker); err != nil {
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	if _, err = seeker.Seek(start, io.SeekStart); err != nil {
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	name = hex.EncodeToString(h.Sum(nil))
	if size, err = s.write(ctx, name, seeker); err != nil {
		return "", 0, fmt.Errorf("blob %s: %w", name, err)
	}
	return name, size, nil
}

func (s *Store) spool(r io.Reader) (*os.File, error) {
	f, err := s.Scratch()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func (s *Store) write(ctx context.Context, name string, r io.Reader) (int64, error) {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it means: forget the blob
	w, err := s.bucket.NewWriter(wctx, key(name), &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return 0, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if err == nil && hex.EncodeToString(h.Sum(nil)) != name {
		err = errors.New("the content changed while it was stored")
	}
	if err != nil {
		cancel()
		return 0, errors.Join(err, ignoreCanceled(w.Close()))
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	return n, s.sync(name)
}

// Scratch makes an empty file on the folder's own disk, for what will be given to PutFile. The caller closes it, and
// removes it unless PutFile has taken it. What a process that died has left is removed by the next Open.
func (s *Store) Scratch() (*os.File, error) { return os.CreateTemp(s.dir, "spool-*"+tempSuffix) }

// PutFile is Put for a file from Scratch, which becomes the blob itself instead of being copied: it must not be written any
// more. perm are the mode's bits of the blob's file.
func (s *Store) PutFile(ctx context.Context, f *os.File, perm fs.FileMode) (name string, size int64, err error) {
	if s.dir == "" { // a bucket
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", 0, fmt.Errorf("blob: %w", err)
		}
		return s.Put(ctx, f)
	}
	h := sha256.New()
	if size, err = io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", 0, fmt.Errorf("blob: %w", err)
	}
	name = hex.EncodeToString(h.Sum(nil))
	file := s.Path(name)
	err = errors.Join(f.Chmod(perm), os.MkdirAll(filepath.Dir(file), 0o700))
	if err == nil {
		if err = os.Rename(f.Name(), file); err == nil {
			err = s.sync(name)
		}
	}
	if err != nil {
		return "", 0, fmt.Errorf("blob %s: %w", name, err)
	}
	return name, size, nil
}

// Path is where a blob's file is, if there is one: for whoever hands a file to another process. Empty in a store that is no
// folder, and for what is no name.
func (s *Store) Path(name string) string {
	if s.dir == "" || !valid(name) {
		return ""
	}
	return filepath.Join(s.dir, filepath.FromSlash(key(name)))
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) || gcerrors.Code(err) == gcerrors.Canceled {
		return nil
	}
	return err
}

// sync makes a finished blob of a folder durable: the library renames atomically but does not sync. Until this returns nobody was told
// that the blob exists; a torn file that a power failure leaves is found by its hash.
func (s *Store) sync(name string) error {
	file := filepath.Join(s.dir, filepath.FromSlash(key(name)))
	for _, p := range []string{file, filepath.Dir(file), s.dir} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Open returns a reader of a blob, to be closed. Its last Read answers ErrDamaged instead of io.EOF when the bytes are not those that
// the name promises: a caller must read to the end before it trusts any of it. The error is ErrNotFound when there is none.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if !valid(name) {
		return nil, fmt.Errorf("blob %q: %w", name, ErrNotFound)
	}
	r, err := s.bucket.NewReader(ctx, key(name), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("blob %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", name, err)
	}
	return &verified{r: r, h: sha256.New(), want: name}, nil
}

// ReadAll returns a whole blob of at most limit bytes, verified.
func (s *Store) ReadAll(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("blob %s is larger than %d bytes", name, limit)
	}
	return b.Bytes(), nil
}

type verified struct {
	r    io.ReadCloser
	h    hash.Hash
	want string
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(v.h.Sum(nil)) != v.want {
		err = fmt.Errorf("blob %s: %w", v.want, ErrDamaged)
	}
	return n, err
}

func (v *verified) Close() error { return v.r.Close() }

// Exists says whether a blob is there. It does not look into it.
func (s *Store) Exists(ctx context.Context, name string) (bool, error) {
	if !valid(name) {
		return false, nil
	}
	ok, err := s.bucket.Exists(ctx, key(name))
	if err != nil {
		return false, fmt.Errorf("blob %s: %w", name, err)
	}
	return ok, nil
}

// Delete removes a blob; one that is not there is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	if !valid(name) {
		return nil
	}
	if err := s.bucket.Delete(ctx, key(name)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("blob %s: %w", name, err)
	}
	return nil
}

// List calls f with the name and the size of every blob until f answers false.
func (s *Store) List(ctx context.Context, f func(name string, size int64) bool) error {
	it := s.bucket.List(nil)
	for {
		o, err := it.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list of blobs: %w", err)
		}
		_, name, ok := strings.Cut(o.Key, "/")
		if ok && valid(name) && !f(name, o.Size) {
			return nil
		}
	}
}

const tempSuffix = ".tmp" // the library's and ours

// sweep removes temporary files: nobody writes yet, so they are of a process that died.
func sweep(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && strings.HasSuffix(d.Name(), tempSuffix) {
			return os.Remove(path)
		}
		return nil
	})
}
