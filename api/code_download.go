package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"thaw/function"
)

// codePath is where Code.Location of GetFunction points: codePath/HASH/EXPIRY/TOKEN, no credentials wanted.
//
// Differs: AWS answers with a URL of S3. Both live ten minutes; ours also ends with the server.
const codePath = "/thaw/code/"

const codeLifetime = 10 * time.Minute

// tokens makes and checks the tokens of download URLs: a MAC of package and expiry under a key that only this process has.
type tokens struct {
	key [32]byte
	now func() time.Time
}

func (t *tokens) mac(hash, expiry string) string {
	m := hmac.New(sha256.New, t.key[:])
	m.Write([]byte(hash + "/" + expiry))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (t *tokens) path(hash string) string {
	expiry := strconv.FormatInt(t.now().Add(codeLifetime).Unix(), 10)
	return codePath + hash + "/" + expiry + "/" + t.mac(hash, expiry)
}

// check returns the package that a path after codePath allows to read; "" when none.
func (t *tokens) check(path string) string {
	p := strings.Split(path, "/")
	if len(p) != 3 || !hmac.Equal([]byte(p[2]), []byte(t.mac(p[0], p[1]))) {
		return ""
	}
	unix, err := strconv.ParseInt(p[1], 10, 64)
	if err != nil || t.now().Unix() >= unix {
		return ""
	}
	return p[0]
}

func (c *call) codeLocation(hash string) string {
	scheme := "http://"
	if c.r.TLS != nil {
		scheme = "https://"
	}
	return scheme + c.r.Host + c.s.tokens.path(hash)
}

func (c *call) downloadCode(path string) error {
	hash := c.s.tokens.check(path)
	if hash == "" || c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return fail("AccessDeniedException", "Request has expired or was never allowed.")
	}
	r, err := c.s.Plane.Blobs.Open(c.r.Context(), hash)
	if err != nil {
		return err
	}
	defer r.Close()
	c.w.Header().Set("Content-Type", "application/zip")
	if c.r.Method == http.MethodHead {
		return c.empty(http.StatusOK)
	}
	if _, err := io.CopyBuffer(c.w, io.LimitReader(r, function.MaxUnzippedBytes), make([]byte, 64<<10)); err != nil {
		panic(http.ErrAbortHandler) // the answer has begun: a broken one must not look whole
	}
	return nil
}
