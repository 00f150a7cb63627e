package samples

import (
	"io/fs"
	"strings"
)

// layerFS is a layer whose extensions are executable again: what is embedded has lost that.
type layerFS struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (l layerFS) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(l.FS, name)
	if strings.HasPrefix(name, "extensions") {
		for i := range list {
			list[i] = executable{list[i]}
		}
	}
	return list, err
}

type executable struct{ fs.DirEntry }

func (e executable) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	return executableInfo{info}, err
}

type executableInfo struct{ fs.FileInfo }

func (e executableInfo) Mode() fs.FileMode { return e.FileInfo.Mode() | 0o111 }
