package node

import (
	"net/http"

	"golang.org/x/sys/unix"

	"thaw/api"
	"thaw/internal/door"
)

// withMetrics serves /metrics beside the API. No ServeMux: it cleans paths, and the API needs them as they were sent, because signatures cover them.
func withMetrics(metrics http.Handler, guard *door.Guard, api *api.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && !api.Public(r) {
			if err := guard.Check(r); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			metrics.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// maxConnections bounds the connections of the API: far more than invocations can run, and not all descriptors that a
// process may have.
func maxConnections() int {
	const most = 4096
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return most / 8
	}
	return int(min(l.Cur/2, most)) //nolint:gosec // at most 4096
}
