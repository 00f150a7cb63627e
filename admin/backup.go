package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// Backup writes a backup of the running server; recordsOnly leaves out code packages. The caller checks it: an error in
// the midst only cuts it.
type Backup func(ctx context.Context, w io.Writer, recordsOnly bool) error

func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-tar")
	c := &counter{Writer: w}
	err := s.o.Backup(r.Context(), c, r.FormValue("records") != "")
	switch {
	case err == nil:
	case c.n == 0:
		refuse(w, http.StatusInternalServerError, err)
	default:
		s.o.Log.Warn("backup not finished", "error", err)
		panic(http.ErrAbortHandler) // the client sees a cut answer
	}
}

type counter struct {
	io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += n
	return n, err
}

// Backup writes a backup of the server.
func (c *Client) Backup(ctx context.Context, w io.Writer, recordsOnly bool) error {
	v := url.Values{}
	if recordsOnly {
		v.Set("records", "only")
	}
	body, err := c.do(ctx, http.MethodGet, "backup?"+v.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err = io.Copy(w, body); errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server ended the backup; its log says why")
	}
	return err
}
