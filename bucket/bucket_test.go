package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"thaw/controlplane"
	"thaw/internal/wholebody"
)

// store is an S3 server whose answers a test can spoil.
type store struct {
	t      *testing.T
	url    string
	client *s3.Client // its own, which nothing spoils
	spoil  atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
	gets   atomic.Int32
}

func newStore(t *testing.T) *store {
	s := &store{t: t}
	inner := gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(false)).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			s.gets.Add(1)
			if f := s.spoil.Load(); f != nil {
				(*f)(w, r, inner)
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	s.client = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &srv.URL, UsePathStyle: true,
		HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	if _, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	return s
}

// reader reads from the store, with the SDK's own configuration.
func (s *store) reader() *Reader {
	s.t.Setenv("AWS_ENDPOINT_URL_S3", s.url)
	s.t.Setenv("AWS_ACCESS_KEY_ID", "test")
	s.t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	s.t.Setenv("AWS_REGION", "us-east-1")
	return &Reader{}
}

func (s *store) put(key string, b []byte) (version string) {
	s.t.Helper()
	out, err := s.client.PutObject(context.WithoutCancel(s.t.Context()), &s3.PutObjectInput{Bucket: aws.String("code"), Key: &key, Body: bytes.NewReader(b)})
	if err != nil {
		s.t.Fatal(err)
	}
	return aws.ToString(out.VersionId)
}

func object(bucket, key, version string) controlplane.Object {
	return controlplane.Object{Bucket: bucket, Key: key, Version: version}
}

func file(t *testing.T) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "object"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func (s *store) wantFetched(r *Reader, o controlplane.Object, want []byte) {
	s.t.Helper()
	f := file(s.t)
	size, version, err := r.Fetch(s.t.Context(), o, f, 1<<24)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	if size != int64(len(want)) || !bytes.Equal(got, want) {
		s.t.Errorf("%d bytes, file of %d, want %d; the same: %v", size, len(got), len(want), bytes.Equal(got, want))
	}
	if o.Version != "" && version != o.Version {
		s.t.Errorf("version %q, want %q", version, o.Version)
	}
}

func TestFetch(t *testing.T) {
	s := newStore(t)
	if _, err := s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("code"),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	first, second := noise(300_000), noise(200_000)
	version := s.put("a b/ü.zip", first)
	s.put("a b/ü.zip", second)
	r := s.reader()
	s.wantFetched(r, object("code", "a b/ü.zip", ""), second)
	s.wantFetched(r, object("code", "a b/ü.zip", version), first)

	f := file(t)
	if _, _, err := r.Fetch(t.Context(), object("code", "a b/ü.zip", ""), f, 200_000); err != nil {
		t.Errorf("exactly as large as allowed: %v", err)
	}
	if _, _, err := r.Fetch(t.Context(), object("code", "a b/ü.zip", ""), f, 199_999); !errors.Is(err, controlplane.ErrObjectTooLarge) {
		t.Errorf("a byte too large: %v", err)
	}
	for o, code := range map[controlplane.Object]string{object("code", "nothing", ""): "NoSuchKey", object("nowhere", "x", ""): "NoSuchBucket"} {
		var refused *controlplane.ObjectRefusedError
		if _, _, err := r.Fetch(t.Context(), o, f, 1<<20); !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%v: %v, want %s", o, err, code)
		}
	}
}

// cut passes on the first n bytes of an answer, and breaks the connection then.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// What breaks goes on where it broke, if the object is still the same one.
func TestBrokenConnections(t *testing.T) {
	s := newStore(t)
	whole := noise(500_000)
	s.put("code.zip", whole)
	var ranges []string
	spoil := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) < 3 {
			w = &cut{w, 150_000}
		}
		next.ServeHTTP(w, r)
	}
	s.spoil.Store(&spoil)
	s.wantFetched(s.reader(), object("code", "code.zip", ""), whole)
	if want := []string{"", "bytes=150000-", "bytes=300000-"}; fmt.Sprint(ranges) != fmt.Sprint(want) {
		t.Errorf("asked for %q, want %q", ranges, want)
	}

	ranges = nil
	always := func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(&cut{w, 10}, r) }
	s.spoil.Store(&always)
	s.gets.Store(0)
	var unreachable *controlplane.ObjectUnreachableError
	if _, _, err := s.reader().Fetch(t.Context(), object("code", "code.zip", ""), file(t), 1<<20); !errors.As(err, &unreachable) {
		t.Errorf("a connection that always breaks: %v", err)
	}
	if n := s.gets.Load(); n != attempts {
		t.Errorf("%d attempts, want %d", n, attempts)
	}
}

// An object that is replaced between two halves is read anew: nobody gets one half of each.
func TestAnObjectThatChanges(t *testing.T) {
	for name, after := range map[string][]byte{"longer": noise(600_000), "shorter": noise(100_000)} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.put("code.zip", noise(500_000))
			n := 0
			spoil := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if n++; n == 1 {
					defer s.put("code.zip", after)
					next.ServeHTTP(&cut{w, 300_000}, r)
					return
				}
				if tag := r.Header.Get("If-Match"); tag != "" { // S3's condition, which the fake does not know
					head, err := s.client.HeadObject(r.Context(), &s3.HeadObjectInput{Bucket: aws.String("code"), Key: aws.String("code.zip")})
					if err != nil {
						t.Error(err)
					} else if aws.ToString(head.ETag) != tag {
						w.WriteHeader(http.StatusPreconditionFailed)
						fmt.Fprint(w, "<Error><Code>PreconditionFailed</Code><Message>At least one of the pre-conditions you specified did not hold</Message></Error>")
						return
					}
				}
				next.ServeHTTP(w, r)
			}
			s.spoil.Store(&spoil)
			s.wantFetched(s.reader(), object("code", "code.zip", ""), after)
		})
	}
}

// Who gives up is not kept waiting by a server that says nothing.
func TestASilentServer(t *testing.T) {
	s := newStore(t)
	s.put("code.zip", noise(1000))
	held := make(chan struct{})
	spoil := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
	s.spoil.Store(&spoil)
	defer close(held)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	time.AfterFunc(100*time.Millisecond, func() { cancel(gone) })
	began := time.Now()
	if _, _, err := s.reader().Fetch(ctx, object("code", "code.zip", ""), file(t), 1<<20); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Without a server there is an error that says where it was looked for.
func TestNobodyListens(t *testing.T) {
	s := newStore(t)
	r := s.reader()
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
	var unreachable *controlplane.ObjectUnreachableError
	if _, _, err := r.Fetch(t.Context(), object("code", "code.zip", ""), file(t), 1<<20); !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}
