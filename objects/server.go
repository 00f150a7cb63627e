// Package objects is the part of S3 that a function needs for the files of folders: to read, list, write and delete
// objects. A folder is a bucket, a file's path in it is its key. Whoever serves it has checked signatures (api.Service).
//
// Source: Amazon S3 API Reference, version 2006-03-01.
package objects

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"thaw/iam"
)

// MaxPut is the largest object that is written in one request, in bytes. There are no uploads in parts.
const MaxPut = 64 << 20

// Buckets says which folders there are.
type Buckets interface {
	Folder(bucket string) (dir string, ok bool)
	Folders() []string // names of buckets, sorted
	// Wrote is told of an object before it is there, with the trace header of whoever writes it: what follows from it
	// belongs to that.
	Wrote(bucket, key, trace string)
}

// Server answers requests; it is an api.Service.
type Server struct {
	Buckets Buckets
	tags    tags
}

// Name is the service's in signatures.
func (*Server) Name() string { return "s3" }

// Target is empty: operations are told by method and path.
func (*Server) Target() string { return "" }

// Limit is the largest body.
func (*Server) Limit() int64 { return MaxPut }

// request is one request, taken apart.
type request struct{ bucket, key string }

func requestOf(r *http.Request) request {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return request{bucket, key}
}

// operation names what a request asks for; empty: nothing that is here.
func operation(r *http.Request, q request) string {
	query := r.URL.Query()
	for _, part := range []string{"uploads", "uploadId", "acl", "tagging", "policy", "versioning", "notification", "delete",
		"versions", "cors", "lifecycle", "encryption", "website"} {
		if query.Has(part) {
			return ""
		}
	}
	switch {
	case q.bucket == "":
		return map[string]string{http.MethodGet: "ListBuckets"}[r.Method]
	case q.key == "" && r.Method == http.MethodGet && query.Has("location"):
		return "GetBucketLocation"
	case q.key == "" && r.Method == http.MethodGet && query.Get("list-type") == "2":
		return "ListObjectsV2"
	case q.key == "":
		return map[string]string{http.MethodHead: "HeadBucket"}[r.Method]
	case r.Header.Get("X-Amz-Copy-Source") != "":
		return ""
	}
	return map[string]string{http.MethodGet: "GetObject", http.MethodHead: "HeadObject", http.MethodPut: "PutObject",
		http.MethodDelete: "DeleteObject"}[r.Method]
}

// actions are the permissions of operations. Source: Service Authorization Reference, "Amazon S3".
var actions = map[string]string{"ListBuckets": "s3:ListAllMyBuckets", "GetBucketLocation": "s3:GetBucketLocation",
	"ListObjectsV2": "s3:ListBucket", "HeadBucket": "s3:ListBucket",
	"GetObject": "s3:GetObject", "HeadObject": "s3:GetObject", "PutObject": "s3:PutObject", "DeleteObject": "s3:DeleteObject"}

// Needs implements api.Service.
func (*Server) Needs(r *http.Request, _, _ string, _ []byte) []iam.Ask {
	q := requestOf(r)
	action := actions[operation(r, q)]
	if action == "" {
		return nil
	}
	resource := "*"
	if q.bucket != "" {
		resource = "arn:aws:s3:::" + q.bucket
	}
	if q.key != "" {
		resource += "/" + q.key
	}
	return []iam.Ask{{Action: action, Resource: resource}}
}

// failure is an answer other than success.
type failure struct {
	status        int
	code, message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

var (
	noKey    = &failure{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}
	noBucket = &failure{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist: a folder that a trigger watches is one; type: thaw trigger ls"}
	badKey   = &failure{http.StatusBadRequest, "InvalidArgument", "A key is the path of a file in the folder: no part of it is empty or begins with a dot."}
)

// Serve implements api.Service.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, _, region string, body []byte) {
	if err := s.serve(w, r, region, body); err != nil {
		write(w, r, err)
	}
}

// Refuse implements api.Service.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	f := &failure{http.StatusForbidden, strings.TrimSuffix(code, "Exception"), message}
	switch code {
	case "RequestEntityTooLargeException":
		f = &failure{http.StatusBadRequest, "EntityTooLarge", message}
	case "InvalidSignatureException":
		f.code = "SignatureDoesNotMatch"
	case "AccessDeniedException":
		f.code = "AccessDenied"
	}
	writeFailure(w, f)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, region string, body []byte) error {
	q := requestOf(r)
	op := operation(r, q)
	switch op {
	case "":
		return &failure{http.StatusNotImplemented, "NotImplemented", r.Method + " " + r.URL.Path + " with these parameters is not possible with a folder: objects are read, listed, deleted, and written whole."}
	case "ListBuckets":
		return s.listBuckets(w)
	}
	dir, ok := s.Buckets.Folder(q.bucket)
	if !ok {
		return noBucket
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	switch op {
	case "HeadBucket":
		w.Header().Set("X-Amz-Bucket-Region", region)
		return nil
	case "GetBucketLocation":
		return writeXML(w, http.StatusOK, location{Region: region})
	case "ListObjectsV2":
		return s.list(w, r, root, q.bucket)
	}
	if !fs.ValidPath(q.key) || hidden(q.key) {
		if op != "PutObject" {
			return noKey
		}
		return badKey
	}
	switch op {
	case "PutObject":
		return s.put(w, r, root, q, body)
	case "DeleteObject":
		if err := root.Remove(q.key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return s.get(w, r, root, q.key)
}

// hidden says that the watcher of the folder does not see the file either.
func hidden(key string) bool { return strings.HasPrefix(key, ".") || strings.Contains(key, "/.") }

type (
	wrong struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	location struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}
	buckets struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
		Owner   owner
		Buckets []bucket `xml:"Buckets>Bucket"`
	}
	owner  struct{ ID, DisplayName string }
	bucket struct{ Name, CreationDate string }
)

func (s *Server) listBuckets(w http.ResponseWriter) error {
	out := buckets{Owner: owner{"thaw", "thaw"}}
	for _, name := range s.Buckets.Folders() {
		dir, ok := s.Buckets.Folder(name)
		if !ok {
			continue
		}
		if info, err := os.Stat(dir); err == nil {
			out.Buckets = append(out.Buckets, bucket{name, info.ModTime().UTC().Format(timeForm)})
		}
	}
	return writeXML(w, http.StatusOK, out)
}

func write(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	switch {
	case errors.As(err, &f):
	case errors.Is(err, fs.ErrNotExist):
		f = noKey
	case errors.Is(err, fs.ErrPermission), strings.Contains(err.Error(), "path escapes"):
		f = &failure{http.StatusForbidden, "AccessDenied", "Access Denied"}
	default:
		f = &failure{http.StatusInternalServerError, "InternalError", "the folder: " + path.Base(err.Error())}
	}
	if r.Method == http.MethodHead { // it has no body to say more
		w.WriteHeader(f.status)
		return
	}
	writeFailure(w, f)
}

func writeFailure(w http.ResponseWriter, f *failure) {
	writeXML(w, f.status, wrong{Code: f.code, Message: f.message}) //nolint:errcheck // nobody to tell
}

func writeXML(w http.ResponseWriter, status int, v any) error {
	b, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, err = w.Write(append([]byte(xml.Header), b...))
	return err
}
