package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"thaw/function"
)

// Object names a package that lies in S3. An empty version is the latest one.
type Object struct{ Bucket, Key, Version string }

func (o Object) String() string { return "s3://" + o.Bucket + "/" + o.Key }

// Objects reads packages that lie in S3; *bucket.Reader does.
type Objects interface {
	// Fetch writes an object of at most max bytes to a file, and returns its size and the version that was read ("": the
	// bucket has none). Errors: *ObjectRefusedError, *ObjectUnreachableError, ErrObjectTooLarge, those of file and context.
	Fetch(ctx context.Context, o Object, to *os.File, max int64) (size int64, version string, err error)
}

// ObjectRefusedError is S3's answer that there is no object for us.
type ObjectRefusedError struct {
	Object  Object
	Code    string // NoSuchKey, AccessDenied ...
	Message string
}

func (e *ObjectRefusedError) Error() string {
	return fmt.Sprintf("%v: %s: %s", e.Object, e.Code, e.Message)
}

// ObjectUnreachableError is no answer of S3, or half of one.
type ObjectUnreachableError struct {
	Object Object
	Err    error
}

func (e *ObjectUnreachableError) Error() string { return fmt.Sprintf("%v: %v", e.Object, e.Err) }

func (e *ObjectUnreachableError) Unwrap() error { return e.Err }

// ErrObjectTooLarge is an object with more bytes than were asked for.
var ErrObjectTooLarge = errors.New("the object is too large")

// fetches is how many objects are read at a time; each may take 250 MB of the disk.
const fetches = 8

// TakeObject takes in a zip package that lies in S3, as it is now. Errors: those of TakeCode.
func (p *Plane) TakeObject(ctx context.Context, o Object) (*Code, error) {
	zip, done, err := p.fetch(ctx, o)
	if err != nil {
		return nil, err
	}
	defer done()
	return p.take(ctx, zip)
}

// fetch reads an object into a file without a name, which is gone when done was called, or with the process.
func (p *Plane) fetch(ctx context.Context, o Object) (zip *io.SectionReader, done func(), err error) {
	select {
	case p.fetching <- struct{}{}:
		defer func() { <-p.fetching }()
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	f, err := p.Codes.Scratch()
	if err != nil {
		return nil, nil, err
	}
	size, _, err := p.Objects.Fetch(ctx, o, f, function.MaxUnzippedBytes)
	if err != nil {
		f.Close()
		return nil, nil, objectRefusal(o, err)
	}
	return io.NewSectionReader(f, 0, size), func() { f.Close() }, nil
}

// objectRefusal puts an error of Objects into the words of the service. S3's two sentences are S3's own, whatever stands
// in for it says.
func objectRefusal(o Object, err error) error {
	var refused *ObjectRefusedError
	var unreachable *ObjectUnreachableError
	switch {
	case errors.As(err, &refused) && refused.Code == "AccessDenied":
		return refuse(Denied, "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for %s/%s."+
			" S3 Error Code: AccessDenied. S3 Error Message: %s", o.Bucket, o.Key, refused.Message)
	case errors.As(err, &refused):
		message := refused.Message
		switch refused.Code {
		case "NoSuchKey":
			message = "The specified key does not exist."
		case "NoSuchBucket":
			message = "The specified bucket does not exist"
		}
		return invalid("Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", refused.Code, message)
	case errors.As(err, &unreachable):
		return invalid("Error occurred while GetObject. %v. The server finds S3 as every client of AWS does: start it with AWS_ENDPOINT_URL_S3, "+
			"AWS_REGION and AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.", unreachable)
	case errors.Is(err, ErrObjectTooLarge):
		return invalid("Unzipped size must be smaller than %d bytes", function.MaxUnzippedBytes)
	}
	return err
}
