package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const smallEvent = `{"hello":"world","n":1}`

// measureFloor is what the same generator gets from a bare net/http server, in this process: the machine's own share.
func measureFloor(ctx context.Context, o options) ([]result, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })}
	go srv.Serve(l)
	defer srv.Close()
	s := &server{host: l.Addr().String()}
	p50, p99, err := s.rounds(ctx, o, "floor", o.invokes)
	return []result{
		{table: "warm", what: "bare net/http echo, p50", value: p50, unit: "ms"},
		{table: "warm", what: "bare net/http echo, p99", value: p99, unit: "ms"},
	}, err
}

// rounds measures one connection; the medians of the rounds' p50 and p99, in milliseconds.
func (s *server) rounds(ctx context.Context, o options, function string, n int) (p50, p99 float64, err error) {
	var p50s, p99s []float64
	for i := range o.rounds + 1 {
		raw, err := s.prepare(ctx, function, "", []byte(smallEvent), false)
		if err != nil {
			return 0, 0, err
		}
		l, err := dialLoad(ctx, s.host, raw)
		if err != nil {
			return 0, 0, err
		}
		took, err := l.round(ctx, n)
		l.close()
		if err != nil {
			return 0, 0, err
		}
		if i == 0 {
			continue // the first round warms the function's own code
		}
		p50s, p99s = append(p50s, median(took)), append(p99s, quantile(took, 0.99))
	}
	return median(p50s), median(p99s), nil
}

func measureWarm(ctx context.Context, o options, s *server) ([]result, error) {
	if err := s.node(ctx, "warm-node"); err != nil {
		return nil, err
	}
	if err := s.copier(ctx, "warm-copy"); err != nil {
		return nil, err
	}
	aim := 0.35
	if s.kind == "gvisor" {
		aim = 0.8
	}
	p50, p99, err := s.rounds(ctx, o, "warm-node", o.invokes)
	if err != nil {
		return nil, err
	}
	copy50, copy99, err := s.rounds(ctx, o, "warm-copy", o.invokes)
	return []result{
		{what: "Node echo, p50", value: p50, unit: "ms", aim: aim},
		{what: "Node echo, p99", value: p99, unit: "ms", aim: 3},
		{what: "Go copy, p50", value: copy50, unit: "ms"},
		{what: "Go copy, p99", value: copy99, unit: "ms"},
	}, err
}

// environments is the number that the throughput is measured over.
const environments = 8

func measureThroughput(ctx context.Context, o options, s *server) ([]result, error) {
	if err := s.node(ctx, "many"); err != nil {
		return nil, err
	}
	raw, err := s.prepare(ctx, "many", "", []byte(smallEvent), false)
	if err != nil {
		return nil, err
	}
	var rates []float64
	for i := range o.rounds + 1 {
		var done atomic.Int64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		began := time.Now()
		until := began.Add(o.burst)
		if i == 0 {
			until = began.Add(max(o.burst, 5*time.Second)) // brings the environments up
		}
		for range environments {
			wg.Go(func() {
				l, err := dialLoad(ctx, s.host, raw)
				if err != nil {
					failed.Store(&err)
					return
				}
				defer l.close()
				for time.Now().Before(until) && ctx.Err() == nil {
					if _, err := l.once(); err != nil {
						failed.Store(&err)
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return nil, *err
		}
		if i > 0 {
			rates = append(rates, float64(done.Load())/time.Since(began).Seconds())
		}
	}
	r := result{what: fmt.Sprintf("Node echo, %d connections", environments), value: median(rates), unit: "invokes/s"}
	if s.kind == "process" {
		r.aim, r.atLeast = 3000, true
	}
	return []result{r}, ctx.Err()
}

// measureBodies counts the bytes of the event and of the answer, which is as long.
func measureBodies(ctx context.Context, o options, s *server) ([]result, error) {
	if err := s.copier(ctx, "big-copy"); err != nil {
		return nil, err
	}
	if err := s.node(ctx, "big-node"); err != nil {
		return nil, err
	}
	event := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 5_000_000-2)...), '"')
	var out []result
	for _, f := range []struct{ name, what string }{{"big-copy", "Go copy, 5 MB in and out"}, {"big-node", "Node echo, 5 MB in and out"}} {
		raw, err := s.prepare(ctx, f.name, "", event, false)
		if err != nil {
			return nil, err
		}
		l, err := dialLoad(ctx, s.host, raw)
		if err != nil {
			return nil, err
		}
		var rates []float64
		for i := range o.rounds + 3 {
			a, err := l.once()
			if err != nil {
				l.close()
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			if i >= 3 {
				rates = append(rates, float64(int64(len(event))+a.bytes)/1e6/a.took.Seconds())
			}
		}
		l.close()
		r := result{what: f.what, value: median(rates), unit: "MB/s"}
		if f.name == "big-copy" {
			r.aim, r.atLeast = 200, true
		}
		out = append(out, r)
	}
	return out, nil
}
