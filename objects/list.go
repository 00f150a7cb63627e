package objects

import (
	"encoding/base64"
	"encoding/xml"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
)

const maxKeys = 1000

type (
	listed struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		Name                  string
		Prefix                string
		Delimiter             string `xml:",omitempty"`
		StartAfter            string `xml:",omitempty"`
		EncodingType          string `xml:",omitempty"`
		KeyCount, MaxKeys     int
		IsTruncated           bool
		ContinuationToken     string `xml:",omitempty"`
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
		CommonPrefixes        []prefix
	}
	content struct {
		Key, LastModified, ETag string
		Size                    int64
		StorageClass            string
	}
	prefix struct{ Prefix string }
)

// list answers ListObjectsV2: keys in the order of their bytes, folded at the delimiter.
func (s *Server) list(w http.ResponseWriter, r *http.Request, root *os.Root, bucket string) error {
	q := r.URL.Query()
	out := listed{Name: bucket, Prefix: q.Get("prefix"), Delimiter: q.Get("delimiter"), StartAfter: q.Get("start-after"),
		EncodingType:      q.Get("encoding-type"),
		ContinuationToken: q.Get("continuation-token"), MaxKeys: maxKeys}
	if text := q.Get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return &failure{http.StatusBadRequest, "InvalidArgument", "max-keys is no number."}
		}
		out.MaxKeys = min(n, maxKeys)
	}
	after := out.StartAfter
	if out.ContinuationToken != "" {
		b, err := base64.RawURLEncoding.DecodeString(out.ContinuationToken)
		if err != nil {
			return &failure{http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect"}
		}
		after = string(b)
	}
	keys, err := keysOf(root, out.Prefix)
	if err != nil {
		return err
	}
	out.take(&s.tags, root, keys, after)
	if out.EncodingType == "url" {
		out.encode()
	}
	return writeXML(w, http.StatusOK, &out)
}

// keysOf are the keys that begin so, sorted.
func keysOf(root *os.Root, begin string) (keys []string, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil: // gone meanwhile, or not ours to read
			return fs.SkipDir
		case name == ".":
			return nil
		case hidden(name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			if below := name + "/"; !strings.HasPrefix(below, begin) && !strings.HasPrefix(begin, below) {
				return fs.SkipDir
			}
		case d.Type().IsRegular() && strings.HasPrefix(name, begin):
			keys = append(keys, name)
		}
		return nil
	})
	sort.Strings(keys) // folders are walked in another order than their keys have
	return keys, err
}

// take puts keys behind after into the answer, as many as it holds.
func (l *listed) take(t *tags, root *os.Root, keys []string, after string) {
	last := ""
	for _, key := range keys {
		shown, folded := key, false
		if l.Delimiter != "" {
			if i := strings.Index(key[len(l.Prefix):], l.Delimiter); i >= 0 {
				shown, folded = key[:len(l.Prefix)+i+len(l.Delimiter)], true
			}
		}
		if shown <= after || folded && shown == last {
			continue
		}
		if l.KeyCount == l.MaxKeys {
			l.IsTruncated = l.MaxKeys > 0
			if l.IsTruncated {
				l.NextContinuationToken = base64.RawURLEncoding.EncodeToString([]byte(last))
			}
			return
		}
		if folded {
			l.CommonPrefixes = append(l.CommonPrefixes, prefix{shown})
		} else {
			info, err := root.Lstat(key)
			if err != nil {
				continue
			}
			l.Contents = append(l.Contents, content{key, info.ModTime().UTC().Format(timeForm), `"` + t.of(root, key, info) + `"`, info.Size(), "STANDARD"})
		}
		last = shown
		l.KeyCount++
	}
}

func (l *listed) encode() {
	for _, s := range []*string{&l.Prefix, &l.Delimiter, &l.StartAfter} {
		*s = encodeKey(*s)
	}
	for i := range l.Contents {
		l.Contents[i].Key = encodeKey(l.Contents[i].Key)
	}
	for i := range l.CommonPrefixes {
		l.CommonPrefixes[i].Prefix = encodeKey(l.CommonPrefixes[i].Prefix)
	}
}

func encodeKey(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }
