package node

import (
	"encoding/json"
	"testing"
)

// Files that have no name, files with holes, and what the service does not have.
const filesFunction = `import os, multiprocessing, tempfile, errno
from multiprocessing import shared_memory
def attempt(f):
    try:
        return f()
    except Exception as x:
        return type(x).__name__ + ' ' + str(getattr(x, 'errno', ''))
def nameless(dir, extra=0, mode=0o640):
    f = os.open(dir, os.O_TMPFILE | os.O_RDWR | extra, mode)
    os.write(f, b'hello')
    return f
def state(f):
    s = os.fstat(f)
    return [s.st_nlink, s.st_size, oct(s.st_mode & 0o7777), os.pread(f, 9, 0).decode()]
def link(f, to):
    os.link('/proc/self/fd/%d' % f, to, src_dir_fd=f, follow_symlinks=True) # linkat, because of src_dir_fd
def handler(e, c):
    os.umask(0o022)
    o = {}
    os.makedirs('/tmp/d', exist_ok=True)
    f = nameless('/tmp/d', mode=0o666)
    o['nameless'] = state(f)
    o['seen'] = os.listdir('/tmp/d')
    link(f, '/tmp/d/named')
    o['linked'] = state(f) + [open('/tmp/d/named').read(), os.stat('/tmp/d/named').st_nlink]
    link(f, '/tmp/d/again')
    o['twice'] = os.stat('/tmp/d/again').st_nlink
    o['exists'] = attempt(lambda: link(nameless('/tmp/d'), '/tmp/d/named'))
    os.close(f); os.unlink('/tmp/d/named')
    o['kept'] = [open('/tmp/d/again').read(), os.stat('/tmp/d/again').st_nlink]
    os.unlink('/tmp/d/again')
    o['exclusive'] = attempt(lambda: link(nameless('/tmp/d', os.O_EXCL), '/tmp/d/named'))
    def unlinked():
        g = os.open('/tmp/d/x', os.O_CREAT | os.O_RDWR)
        os.unlink('/tmp/d/x')
        link(g, '/tmp/d/y')
    o['unlinked'] = attempt(unlinked)
    o['left'] = os.listdir('/tmp/d')
    d = os.open('/tmp', os.O_RDONLY)
    o['relative'] = os.fstat(os.open('d', os.O_TMPFILE | os.O_WRONLY, dir_fd=d)).st_nlink
    import ctypes, struct
    g = ctypes.CDLL(None).syscall(437, d, b'd', struct.pack('QQQ', os.O_TMPFILE | os.O_RDWR, 0o600, 0), 24)
    os.write(g, b'x')
    o['openat2'] = state(g)
    o['read only'] = attempt(lambda: os.open('/tmp', os.O_TMPFILE))
    o['a file'] = attempt(lambda: nameless('/etc/passwd'))
    o['nothing'] = attempt(lambda: nameless('/tmp/none'))
    o['not mine'] = attempt(lambda: nameless('/var/task'))
    with tempfile.TemporaryFile() as t:
        o['python'] = os.fstat(t.fileno()).st_nlink
    with open('/tmp/full', 'wb') as t:
        t.write(b'x' * (1 << 20))
    s = os.open('/tmp/sparse', os.O_RDWR | os.O_CREAT); os.ftruncate(s, 10 << 30); os.pwrite(s, b'x', 9 << 30)
    os.symlink('/tmp/sparse', '/tmp/link')
    o['sparse'] = [os.fstat(s).st_blocks * 512, os.stat('/tmp/sparse').st_blocks * 512, os.stat('sparse', dir_fd=d).st_blocks * 512, os.stat('/tmp/link').st_blocks * 512,
        os.stat('/tmp/full').st_blocks * 512, os.fstat(s).st_size]
    o['shm'] = [os.path.exists('/dev/shm'), attempt(multiprocessing.Lock), attempt(lambda: shared_memory.SharedMemory(create=True, size=10)), attempt(lambda: open('/tmp/none')), attempt(lambda: open('/dev/none'))]
    return o
`

func TestFiles(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.deploy(ready(t, s, "python3.11", "python3.12", "python3.13"), map[string]string{"index.py": filesFunction})
	var got map[string]any
	if err := json.Unmarshal([]byte(f.invoke(`{}`).ok(t)), &got); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"nameless":  `[0,5,"0o644","hello"]`,
		"seen":      `[]`,
		"linked":    `[1,5,"0o644","hello","hello",1]`,
		"twice":     `2`,
		"exists":    `"FileExistsError 17"`,
		"kept":      `["hello",1]`,
		"exclusive": `"FileNotFoundError 2"`,
		"unlinked":  `"FileNotFoundError 2"`,
		"left":      `[]`,
		"relative":  `0`,
		"openat2":   `[0,1,"0o600","x"]`,
		"read only": `"OSError 22"`,
		"a file":    `"NotADirectoryError 20"`,
		"nothing":   `"FileNotFoundError 2"`,
		"not mine":  `"OSError 95"`, // a read-only file system of the host: EROFS on AWS
		"python":    `0`,
		"sparse":    `[4096,4096,4096,4096,1048576,10737418240]`,
		// Source: reports of users of managed Python; the service has no /dev/shm.
		"shm": `[false,"OSError 38","OSError 38","FileNotFoundError 2","FileNotFoundError 2"]`,
	} {
		if b, err := json.Marshal(got[what]); err != nil || string(b) != want {
			t.Errorf("%s is %s; want %s", what, b, want)
		}
	}
}
