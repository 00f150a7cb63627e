package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/erofs/go-erofs"
)

// format counts the forms of our images: with another one, everything is made anew.
const format = 1

// buildTime is when folders and symbolic links were last changed: 1980-01-02, since a zip can hold nothing older than 1980.
const buildTime = 315619200

// attempts is how often an image is begun whose files change meanwhile.
const attempts = 3

// write makes the image of a tree that was just looked at, and gives it to the blobs. Where files change meanwhile it looks again.
func (s *Store) write(ctx context.Context, g group, t *tree) (digest string, size int64, of *tree, err error) {
	for i := 0; ; i++ {
		digest, size, err = s.writeOnce(ctx, t)
		if err == nil || !errors.Is(err, ErrChanging) || i+1 == attempts {
			break
		}
		if t, err = scan(ctx, g); err != nil {
			break
		}
	}
	if err != nil {
		return "", 0, nil, fmt.Errorf("image of %s: %w", g.what, noRoom(err))
	}
	return digest, size, t, nil
}

func (s *Store) writeOnce(ctx context.Context, t *tree) (digest string, size int64, err error) {
	f, err := s.blobs.Scratch()
	if err != nil {
		return "", 0, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name()) //nolint:errcheck // at worst the next start does
		}
	}()
	out := &buffered{f: f, w: bufio.NewWriterSize(f, 1<<20)}
	w := erofs.Create(out, erofs.WithBuildTime(buildTime, 0))
	if err := w.CopyFrom(source{ctx, t.root}); err != nil {
		return "", 0, err
	}
	if err := w.Close(); err != nil {
		return "", 0, err
	}
	if err := out.w.Flush(); err != nil {
		return "", 0, err
	}
	// Readable by all: monitors run as users of their own. The folder it is in is the server's alone.
	return s.blobs.PutFile(ctx, f, 0o444)
}

// buffered is a file that many small pieces are written to.
type buffered struct {
	f *os.File
	w *bufio.Writer
}

func (b *buffered) Write(p []byte) (int, error) { return b.w.Write(p) }

func (b *buffered) Seek(offset int64, whence int) (int64, error) {
	if err := b.w.Flush(); err != nil {
		return 0, err
	}
	return b.f.Seek(offset, whence)
}

// isErofs says whether a file is an image of a file system that we hand on.
func isErofs(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [1024 + 4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[1024:]) != "\xe2\xe1\xf5\xe0" {
		return fmt.Errorf("%s is not an image of EROFS", path)
	}
	return nil
}
