package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// load is one connection that sends one prepared request again and again. The request is signed once: the server verifies it each
// time, and the generator, which shares the cores with it, costs next to nothing.
type load struct {
	conn net.Conn
	r    *bufio.Reader
	raw  []byte
	sink []byte
}

// prepare signs an Invoke of a function, or of one version, and writes it as bytes. Good for five minutes. header: more
// of them, name and value.
func (s *server) prepare(ctx context.Context, function, version string, event []byte, tail bool, header ...string) ([]byte, error) {
	url := "http://" + s.host + "/2015-03-31/functions/" + function + "/invocations"
	if version != "" {
		url += "?Qualifier=" + version
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "thaw-bench")
	if tail {
		req.Header.Set("X-Amz-Log-Type", "Tail")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	sum := sha256.Sum256(event)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, req, hex.EncodeToString(sum[:]), "lambda", region, time.Now())
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	var raw bytes.Buffer
	if err := req.Write(&raw); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

func dialLoad(ctx context.Context, host string, raw []byte) (*load, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &load{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), raw: raw, sink: make([]byte, 256<<10)}, nil
}

func (l *load) close() { l.conn.Close() }

// answer is what one request gave.
type answer struct {
	took  time.Duration
	bytes int64
	tail  string // base64
}

// once sends the request and reads the whole answer.
func (l *load) once() (answer, error) {
	began := time.Now()
	l.conn.SetDeadline(began.Add(patience * time.Minute))
	if _, err := l.conn.Write(l.raw); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted || resp.Header.Get("X-Amz-Function-Error") != "" {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return answer{}, fmt.Errorf("answer %s %s: %s", resp.Status, resp.Header.Get("X-Amz-Function-Error"), text)
	}
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, resp.Body, l.sink)
	a := answer{time.Since(began), n, resp.Header.Get("X-Amz-Log-Result")}
	resp.Body.Close()
	return a, err
}

// onlyWriter hides io.Discard's own buffers, which are small.
type onlyWriter struct{ io.Writer }

// round sends n requests and gives their times in milliseconds.
func (l *load) round(ctx context.Context, n int) ([]float64, error) {
	took := make([]float64, 0, n)
	for range n {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a, err := l.once()
		if err != nil {
			return nil, err
		}
		took = append(took, ms(a.took))
	}
	return took, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
