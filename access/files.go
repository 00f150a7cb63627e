package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"thaw/iam"
)

// now is what the folder holds, as of a moment ago.
func (s *Store) now() *picture {
	p := s.read.Load()
	if s.o.Now().Sub(p.at).Abs() < look {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p = s.read.Load(); s.o.Now().Sub(p.at).Abs() < look {
		return p
	}
	return s.lookLocked()
}

// lookLocked reads the folder if it has changed. What is wrong in it is logged once.
func (s *Store) lookLocked() *picture {
	p := s.read.Load()
	if mark := s.mark(); mark == p.mark {
		same := *p
		same.at = s.o.Now()
		s.read.Store(&same)
		return &same
	}
	next, err := s.readFolder()
	if err != nil {
		s.o.Log.Error("a file of access rights is wrong and counts for nothing", "error", err)
	}
	s.read.Store(next)
	return next
}

// mark is another one when a file was added, removed or changed.
func (s *Store) mark() string {
	var b strings.Builder
	for _, kind := range []string{"keys", "roles"} {
		entries, err := os.ReadDir(filepath.Join(s.o.Dir, kind))
		fmt.Fprintln(&b, kind, err == nil)
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano(), info.Mode())
			}
		}
	}
	return b.String()
}

// readFolder reads all files. What cannot be read is missing in the picture, and told in the error.
func (s *Store) readFolder() (*picture, error) {
	p := &picture{at: s.o.Now(), mark: s.mark(), keys: map[string]*key{}, roles: map[string]*role{}}
	var errs []error
	_, err := os.Stat(filepath.Join(s.o.Dir, "keys"))
	if p.signed = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.signed, errs = true, append(errs, err)
	}
	errs = append(errs, each(filepath.Join(s.o.Dir, "keys"), func(name string, text []byte) error {
		k := &key{}
		if err := json.Unmarshal(text, k); err != nil {
			return err
		}
		if k.ID != name || !anyKeyRE.MatchString(k.ID) || k.Secret == "" || !nameRE.MatchString(k.User) || !accountRE.MatchString(k.Account) {
			return errors.New("not the form of an access key; its name must be that of the file")
		}
		var err error
		if k.policy, err = iam.Parse(k.Policy, iam.Identity); err == nil {
			p.keys[name] = k
		}
		return err
	}))
	errs = append(errs, each(filepath.Join(s.o.Dir, "roles"), func(name string, text []byte) error {
		r := &role{}
		err := json.Unmarshal(text, r)
		if err != nil {
			return err
		}
		if r.Name = name; len(r.Trust) == 0 {
			r.trust = s.trusting()
		} else if r.trust, err = iam.Parse(r.Trust, iam.Trust); err != nil {
			return fmt.Errorf("trust: %w", err)
		}
		if r.policy, err = iam.Parse(r.Policy, iam.Identity); err == nil {
			p.roles[name] = r
		}
		return err
	}))
	return p, errors.Join(errs...)
}

// trusting is the trust policy of a role that says nothing of it: whoever of the account may assume it, may.
func (s *Store) trusting() *iam.Policy {
	return &iam.Policy{Statements: []iam.Statement{{Actions: []string{"sts:AssumeRole"}, Principals: &iam.Principals{AWS: []string{s.o.Account}}}}}
}

// each gives f the files of a folder that others cannot read. No text of a file gets into an error of ours.
func each(dir string, f func(name string, text []byte) error) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	errs := []error{err}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("others can use the file; type: chmod 600 %s", path)
		}
		var text []byte
		if err == nil {
			text, err = os.ReadFile(path)
		}
		if err == nil {
			err = f(name, text)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // or removed meanwhile
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// write puts a file in place, whole or not at all, and has it known.
func (s *Store) write(kind, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := filepath.Join(s.o.Dir, kind)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	path := filepath.Join(dir, name+".json")
	tmp := filepath.Join(dir, ".new-"+newID())
	if err := writeNew(tmp, append(text, '\n')); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("access: %w", err)
	}
	s.lookLocked()
	return nil
}

// writeNew writes a file that must not be there yet, for its owner alone, onto the disk. A part of it is never seen under
// its name.
func writeNew(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}

func (s *Store) remove(kind, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.Remove(filepath.Join(s.o.Dir, kind, name+".json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("access: %w", err)
	}
	s.lookLocked()
	return nil
}
