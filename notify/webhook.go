package notify

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"thaw/async"
	"thaw/push"
	"thaw/trigger"
)

// Path is what the path of every webhook begins with: /notify/NAME, or /notify/NAME/TOKEN for servers that send no header.
const Path = "/notify/"

// maxNotification is more than any server of objects sends at once.
const maxNotification = 1 << 20

// Serves implements api.Front.
func (s *Service) Serves(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, Path) }

// ServeHTTP takes a notification. It answers 200 when the function's events are on disk; whoever gets another answer
// sends again. A server that only asks whether somebody is there (MinIO, by HEAD and without its token) is told so.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	name, inPath, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Path), "/")
	if r.Method == http.MethodHead || r.Method == http.MethodGet {
		return
	}
	if r.Method != http.MethodPost {
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "notifications come by POST", http.StatusMethodNotAllowed)
		return
	}
	t := s.records.Get(name)
	if t == nil || t.Kind != Webhook || !t.knows(tokenOf(r, inPath)) { // one answer: nobody learns which names there are
		http.Error(w, "no such trigger, or not its token: thaw trigger ls", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotification))
	if err != nil {
		http.Error(w, "the notification is cut or too large", http.StatusRequestEntityTooLarge)
		return
	}
	if status, err := s.take(r, t, body); err != nil {
		s.o.Log.Warn("notification of S3 not taken", "trigger", t.Name, "fn", t.Function.Name(), "error", err)
		http.Error(w, err.Error(), status)
	}
}

// take has the records of a body told.
func (s *Service) take(r *http.Request, t *Trigger, body []byte) (status int, err error) {
	if len(strings.TrimSpace(string(body))) == 0 { // MinIO asks so, too
		return http.StatusOK, nil
	}
	records, err := trigger.ParseS3(body)
	if err != nil {
		s.told(t, err)
		return http.StatusBadRequest, err
	}
	for i := range records {
		if !t.Filter.Wants(&records[i]) {
			continue
		}
		if err := s.tell(r.Context(), t, records[i], ""); err != nil {
			return statusOf(err), err
		}
	}
	return http.StatusOK, nil
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, async.ErrFull), errors.Is(err, async.ErrStopping):
		return http.StatusServiceUnavailable
	case errors.As(err, new(*push.NotAllowedError)):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// tokenOf is the token that a sender shows: Authorization Bearer TOKEN, the token alone, Basic with it as the password,
// or the end of the path. MinIO sends what it was given as auth_token.
func tokenOf(r *http.Request, inPath string) string {
	head := r.Header.Get("Authorization")
	scheme, rest, two := strings.Cut(head, " ")
	switch {
	case head == "":
		return inPath
	case !two:
		return head
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(b), ":")
		return password
	}
	return rest
}
