package objects

import (
	"crypto/md5"  //nolint:gosec // what S3 calls eTag and Content-MD5
	"crypto/sha1" //nolint:gosec // one of the checksums that clients choose
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

const timeForm = "2006-01-02T15:04:05.000Z"

// hashMost is the largest file whose content is read for its eTag, in bytes.
const hashMost = 64 << 20

// ETag is the MD5 of a file, without quotes; of a large one something else that changes with it, as S3 has it of uploads
// in parts.
func ETag(root *os.Root, name string, info fs.FileInfo) string {
	sum := md5.New() //nolint:gosec // see above
	if info.Size() <= hashMost {
		if in, err := root.Open(name); err == nil {
			defer in.Close()
			if _, err := io.Copy(sum, in); err == nil {
				return hex.EncodeToString(sum.Sum(nil))
			}
			sum.Reset()
		}
	}
	var inode uint64
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	fmt.Fprint(sum, info.Size(), info.ModTime().UnixNano(), inode)
	return hex.EncodeToString(sum.Sum(nil)) + "-1"
}

// get answers GET and HEAD, with ranges and conditions.
func (s *Server) get(w http.ResponseWriter, r *http.Request, root *os.Root, key string) error {
	f, err := root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to must not be waited for
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return noKey
	}
	h := w.Header()
	h.Set("Etag", `"`+s.tags.of(root, key, info)+`"`)
	kind := mime.TypeByExtension(path.Ext(key))
	if kind == "" {
		kind = "binary/octet-stream"
	}
	h.Set("Content-Type", kind)
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// sums are the checksums that a client may have made of a body.
var sums = map[string]func() hash.Hash{
	"X-Amz-Checksum-Crc32":  func() hash.Hash { return crc32.NewIEEE() },
	"X-Amz-Checksum-Crc32c": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"X-Amz-Checksum-Sha1":   sha1.New,
	"X-Amz-Checksum-Sha256": sha256.New,
	"Content-Md5":           md5.New,
}

// put writes an object whole: under a name that nobody looks for first, so that nobody reads half of it.
func (s *Server) put(w http.ResponseWriter, r *http.Request, root *os.Root, q request, body []byte) error {
	key := q.key
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") || strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		return &failure{http.StatusNotImplemented, "NotImplemented", "A body in chunks is not possible here: give the SDK the whole object, and request_checksum_calculation = when_required."}
	}
	for name, algorithm := range sums {
		stated := r.Header.Get(name)
		if stated == "" {
			continue
		}
		sum := algorithm()
		sum.Write(body)
		if base64.StdEncoding.EncodeToString(sum.Sum(nil)) != stated {
			return &failure{http.StatusBadRequest, "BadDigest", "The " + name + " you specified did not match the calculated checksum."}
		}
	}
	if err := root.MkdirAll(path.Dir(key), 0o755); err != nil { //nolint:gosec // a folder that others read, too
		return err
	}
	part := path.Join(path.Dir(key), ".thaw-"+uuid.NewString())
	f, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // see above
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err == nil {
		s.Buckets.Wrote(q.bucket, key, r.Header.Get("X-Amzn-Trace-Id"))
		err = root.Rename(part, key)
	}
	if err != nil {
		root.Remove(part) //nolint:errcheck // told is why
		return err
	}
	sum := md5.Sum(body) //nolint:gosec // see above
	w.Header().Set("Etag", `"`+hex.EncodeToString(sum[:])+`"`)
	return nil
}
