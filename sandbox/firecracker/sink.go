package firecracker

import (
	"errors"
	"fmt"
	"io"
	"os"

	"thaw/sandbox"
)

// savedParts are those that are files, in the order in which a sink is asked for them; the manifest comes last.
var savedParts = []string{partState, partMemory, partTmp}

// sinkPart is one of them.
type sinkPart struct {
	name   string
	out    io.WriteCloser // as the sink gave it
	file   *os.File       // that the monitor writes
	direct bool           // it is out
}

// sinkParts are a sink's writers, and the files behind them.
type sinkParts struct {
	list     []*sinkPart
	manifest io.WriteCloser
}

func (b *Backend) openSink(sink sandbox.SnapshotSink) (_ *sinkParts, err error) {
	w := new(sinkParts)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	for _, name := range savedParts {
		p := &sinkPart{name: name}
		if p.out, err = sink.Create(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.list = append(w.list, p)
		if p.file, err = plainEmpty(p.out); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if p.direct = p.file != nil; p.direct {
			continue
		}
		if p.file, err = b.scratch(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if w.manifest, err = sink.Create(partManifest); err != nil {
		return nil, fmt.Errorf("%s: %w", partManifest, err)
	}
	return w, nil
}

// plainEmpty is the writer's file when a monitor can write it; nil: it cannot.
func plainEmpty(out io.Writer) (*os.File, error) {
	f, ok := out.(*os.File)
	if !ok {
		return nil, nil
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != 0 {
		return nil, nil
	}
	return f, nil
}

func (w *sinkParts) file(name string) *os.File {
	for _, p := range w.list {
		if p.name == name {
			return p.file
		}
	}
	return nil
}

// sum notes what was written.
func (w *sinkParts) sum(m *manifest) error {
	for _, p := range w.list {
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", p.file.Fd())) // the sink's may be for writing only
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		m.Parts[p.name], err = sumFile(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// finish gives the sink all that it does not have yet, and closes its writers.
func (w *sinkParts) finish(m *manifest) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	for _, p := range w.list {
		if p.direct {
			continue
		}
		if _, err := io.Copy(p.out, io.NewSectionReader(p.file, 0, m.Parts[p.name].Size)); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), w.close())
		}
	}
	if _, err := w.manifest.Write(text); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", partManifest, err), w.close())
	}
	return w.close()
}

// close closes all.
func (w *sinkParts) close() error {
	var errs []error
	for _, p := range w.list {
		if !p.direct && p.file != nil {
			p.file.Close()
		}
		if err := p.out.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if w.manifest != nil {
		if err := w.manifest.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", partManifest, err))
		}
	}
	return errors.Join(errs...)
}
