// Package bucket reads the objects of S3 that hold code of functions and layers. Where S3 is, and with which credentials
// it is asked, is the SDK's own configuration: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE and so on, of the server.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"thaw/controlplane"
	"thaw/internal/awsconfig"
)

// Limits of one fetch.
const (
	// patience bounds all of a fetch. A package is 250 MB at most.
	patience = 2 * time.Minute
	// stall is how long no byte may come.
	stall = 15 * time.Second
	// attempts is how often a fetch begins again, or goes on after its connection broke.
	attempts = 4
)

// Reader fetches objects. Its zero value is ready. It needs no end.
type Reader struct {
	mu     sync.Mutex // guards client
	client *s3.Client
}

// s3 returns the client; it is made at the first use, because who never asks needs no configuration.
func (r *Reader) s3(ctx context.Context) (*s3.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		cfg, err := awsconfig.Load(ctx, "")
		if err != nil {
			return nil, err
		}
		r.client = awsconfig.S3(cfg)
	}
	return r.client, nil
}

// Fetch writes an object of at most max bytes to a file, from its beginning, and returns its size and the version that
// was read ("" where the bucket has none). All of it is of one version of the object, also when that changes meanwhile.
// Errors: those of controlplane.Objects; what the file holds is then undefined.
func (r *Reader) Fetch(ctx context.Context, o controlplane.Object, to *os.File, max int64) (size int64, version string, err error) {
	whole, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not read within %v", patience))
	defer cancel()
	client, err := r.s3(whole)
	if err != nil {
		return 0, "", &controlplane.ObjectUnreachableError{Object: o, Err: err}
	}
	f := fetch{client: client, object: o, to: to, max: max}
	for n := 1; ; n++ {
		done, err := f.next(whole)
		switch {
		case done:
			return f.have, f.version, nil
		case ctx.Err() != nil:
			return 0, "", context.Cause(ctx)
		case final(err) || whole.Err() != nil || n == attempts:
			return 0, "", err
		}
	}
}

// final says that trying again does not help.
func final(err error) bool {
	var refused *controlplane.ObjectRefusedError
	var path *os.PathError
	return errors.As(err, &refused) || errors.As(err, &path) || errors.Is(err, controlplane.ErrObjectTooLarge)
}

// fetch is one object on its way.
type fetch struct {
	client *s3.Client
	object controlplane.Object
	to     *os.File
	max    int64 // bytes

	have    int64  // bytes in the file, of the object with this tag
	etag    string // "": nothing is there yet
	version string
}

// next reads until the end of the object, or until something breaks. It goes on where the one before it ended if the
// object is still the same, which S3 checks, and begins again otherwise.
func (f *fetch) next(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer watch.Stop()

	in := &s3.GetObjectInput{Bucket: &f.object.Bucket, Key: &f.object.Key}
	if f.object.Version != "" {
		in.VersionId = &f.object.Version
	}
	if f.have > 0 {
		in.Range, in.IfMatch = aws.String(fmt.Sprintf("bytes=%d-", f.have)), &f.etag
	}
	out, err := f.client.GetObject(ctx, in)
	if err != nil {
		return false, f.failed(ctx, err)
	}
	defer out.Body.Close()
	if f.have > 0 && out.ContentRange == nil { // it does not know ranges, and sends all
		f.have = 0
	}
	f.etag, f.version = aws.ToString(out.ETag), aws.ToString(out.VersionId)
	if f.etag == "" { // no way to tell whether it is the same
		f.have = 0
	}
	if out.ContentLength != nil && f.have+*out.ContentLength > f.max {
		return false, controlplane.ErrObjectTooLarge
	}
	if err := f.copy(out.Body, watch); err != nil {
		return false, f.failed(ctx, err)
	}
	return true, nil
}

func (f *fetch) copy(from io.Reader, watch *time.Timer) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			watch.Reset(stall)
			if f.have+int64(n) > f.max {
				return controlplane.ErrObjectTooLarge
			}
			if _, err := f.to.WriteAt(buf[:n], f.have); err != nil {
				return err
			}
			f.have += int64(n)
		}
		switch {
		case err == io.EOF:
			return f.to.Truncate(f.have) // an attempt before it may have written more
		case err != nil:
			return err
		}
	}
}

// failed gives an error its type, and decides where the next attempt begins.
func (f *fetch) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &controlplane.ObjectUnreachableError{Object: f.object, Err: context.Cause(ctx)}
	}
	if final(err) {
		return err
	}
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		if f.etag == "" {
			f.have = 0
		}
		return &controlplane.ObjectUnreachableError{Object: f.object, Err: err}
	}
	if f.have > 0 { // it changed (PreconditionFailed), or its end moved (InvalidRange)
		f.have, f.etag = 0, ""
		return &controlplane.ObjectUnreachableError{Object: f.object, Err: err}
	}
	return &controlplane.ObjectRefusedError{Object: f.object, Code: answer.ErrorCode(), Message: answer.ErrorMessage()}
}
