// An extension of the construction of AWS's sample for the Telemetry API in Go: a client of the Extensions API, a listener
// under the sandbox's name, a queue, and a loop that ends with SHUTDOWN or a signal. The text is our own; it knows nothing of
// this project.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"sync"
	"syscall"
)

const listenerPort = "4323"

type client struct {
	base string
	http http.Client
	id   string
}

func (c *client) do(ctx context.Context, method, where string, body any, headers map[string]string, into any) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+where, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", where, resp.Status)
	}
	return resp, json.NewDecoder(resp.Body).Decode(into)
}

func (c *client) register(ctx context.Context, name string) error {
	var who struct {
		FunctionName    string `json:"functionName"`
		FunctionVersion string `json:"functionVersion"`
		Handler         string `json:"handler"`
	}
	resp, err := c.do(ctx, http.MethodPost, "/2020-01-01/extension/register", map[string]any{"events": []string{"INVOKE", "SHUTDOWN"}}, map[string]string{"Lambda-Extension-Name": name}, &who)
	if err != nil {
		return err
	}
	c.id = resp.Header.Get("Lambda-Extension-Identifier")
	log.Printf("[go] registered beside %s %s %s", who.FunctionName, who.FunctionVersion, who.Handler)
	return nil
}

func (c *client) subscribe(ctx context.Context, uri string) error {
	var answer string
	_, err := c.do(ctx, http.MethodPut, "/2022-07-01/telemetry", map[string]any{"schemaVersion": "2022-07-01", "types": []string{"platform", "function"},
		"buffering":   map[string]int{"maxItems": 1000, "maxBytes": 256 * 1024, "timeoutMs": 25},
		"destination": map[string]string{"protocol": "HTTP", "URI": uri}}, map[string]string{"Lambda-Extension-Identifier": c.id}, &answer)
	return err
}

type event struct{ EventType, RequestID, ShutdownReason string }

func (c *client) next(ctx context.Context) (e event, err error) {
	_, err = c.do(ctx, http.MethodGet, "/2020-01-01/extension/event/next", nil, map[string]string{"Lambda-Extension-Identifier": c.id}, &e)
	return e, err
}

// queue is what came and was not dispatched.
type queue struct {
	mu    sync.Mutex
	types []string
}

func (q *queue) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var events []struct{ Type string }
	if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
		log.Print("[go] ", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range events {
		q.types = append(q.types, e.Type)
	}
}

func (q *queue) dispatch(why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	log.Printf("[go] %s dispatches %s", why, strings.Join(q.types, " "))
	q.types = nil
}

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		log.Print("[go] got ", <-signals)
		cancel()
	}()
	c := &client{base: "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")}
	if err := c.register(ctx, path.Base(os.Args[0])); err != nil {
		log.Fatal(err)
	}
	q := &queue{}
	address := "sandbox.localdomain:" + listenerPort
	go func() { log.Fatal(http.ListenAndServe(address, q)) }()
	if err := c.subscribe(ctx, "http://"+address); err != nil {
		log.Fatal(err)
	}
	for {
		e, err := c.next(ctx)
		if err != nil {
			q.dispatch(err.Error())
			return
		}
		q.dispatch(e.EventType)
		if e.EventType == "SHUTDOWN" {
			log.Printf("[go] ends: %s", e.ShutdownReason)
			return
		}
	}
}
