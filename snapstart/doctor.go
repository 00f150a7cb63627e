package snapstart

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"thaw/admin"
	"thaw/function"
	"thaw/snapshot"
)

// doctorLimit bounds the wait for both copies, besides the function's own timeout.
const doctorLimit = time.Minute

// examined is what a copy of a snapshot did with the doctor's event.
type examined struct {
	admin.DoctorCopy
	at      time.Time // of the answer
	payload []byte
	lines   []string // the function's own, since the restore
}

// Doctor implements admin.Snapshots.
func (s *Service) Doctor(ctx context.Context, version string, event []byte) (admin.Diagnosis, error) {
	l, err := s.find(version)
	if err != nil {
		return admin.Diagnosis{}, err
	}
	ctx, done, err := s.begin(ctx, l)
	if err != nil {
		return admin.Diagnosis{}, asDeleted(l, err)
	}
	defer done()
	s.mu.Lock()
	v, meta := l.version, l.record.Current
	s.mu.Unlock()
	if v == nil || meta == nil {
		return admin.Diagnosis{}, &admin.RefusedError{Reason: l.id.String() + " has no current snapshot to look at; type: thaw snapshot refresh"}
	}
	ctx, cancel := context.WithTimeout(ctx, doctorLimit+v.Timeout)
	defer cancel()
	var copies [2]examined
	var failed [2]error
	var both sync.WaitGroup
	for i := range copies {
		both.Go(func() { copies[i], failed[i] = s.examine(ctx, v, meta, event) })
	}
	both.Wait()
	if l.deleted() {
		return admin.Diagnosis{}, deletedMeanwhile(l)
	}
	if err := errors.Join(failed[:]...); err != nil {
		return admin.Diagnosis{}, &admin.RefusedError{Reason: "no copy to look at: " + err.Error()}
	}
	described, err := s.one(l)
	if err != nil {
		return admin.Diagnosis{}, err
	}
	return admin.Diagnosis{Snapshot: described, Copies: []admin.DoctorCopy{copies[0].DoctorCopy, copies[1].DoctorCopy},
		Findings: findings(v, described, copies[0], copies[1], event, s.o.Now())}, nil
}

// examine restores a copy that serves nobody else and gives it the event.
func (s *Service) examine(ctx context.Context, v *function.Version, meta *snapshot.Meta, event []byte) (x examined, err error) {
	began := s.o.Now()
	restore, release, err := s.open(ctx, meta)
	if err != nil {
		return x, err
	}
	c, err := s.o.Environments.Copy(ctx, v, restore, release)
	if err != nil {
		return x, err
	}
	defer c.End("examined")
	x.Env, x.LogStream = c.ID(), c.LogStream()
	x.ReadySeconds = s.o.Now().Sub(began).Seconds()
	requestID := uuid.NewString()
	o, err := c.Invoke(ctx, &function.Invocation{RequestID: requestID, InvokedARN: v.ARN(), Event: event, Tail: true})
	if err != nil {
		return x, err
	}
	x.at, x.payload, x.FunctionError = s.o.Now(), blot(o.Payload, requestID, x.Env, x.LogStream), o.FunctionError
	lines, err := s.o.Lines(ctx, v.LogGroup, x.LogStream)
	if err != nil {
		return x, err
	}
	for _, line := range lines {
		if !platformLine.MatchString(line) {
			x.lines = append(x.lines, string(blot([]byte(line), requestID, x.Env, x.LogStream)))
		}
	}
	return x, nil
}

// blot takes the names out that we gave a copy ourselves: that they differ says nothing.
func blot(b []byte, ours ...string) []byte {
	for _, s := range ours {
		if s != "" {
			b = bytes.ReplaceAll(b, []byte(s), []byte("(ours)"))
		}
	}
	return b
}

// platformLine are lines that the function did not write.
var platformLine = regexp.MustCompile(`^(?:(?:START|END|REPORT) RequestId: |INIT_START |RESTORE_START |RESTORE_REPORT |\{"time":"[^"]*","type":"platform\.)`)
