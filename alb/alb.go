// Package alb is a load balancer in front of a function: its HTTP requests become the events of an Application Load
// Balancer's target group, and the function's answers its responses. One has one target group with one function; rules,
// listeners and the operations of Elastic Load Balancing are not here.
//
// A Service owns the records, the listeners of balancers that have ports of their own, and the goroutines that look
// whether functions are well.
//
// Source: Application Load Balancer User Guide, "Use Lambda functions as targets of an Application Load Balancer".
package alb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thaw/function"
	"thaw/push"
	"thaw/trigger"
)

// Balancer is a load balancer, as it is stored: members may be added, never renamed.
type Balancer struct {
	Name     string
	Function function.ARN
	Created  time.Time
	Settings
}

// Settings are what the owner says of one.
type Settings struct {
	// MultiValue: events and answers have all values of headers (lambda.multi_value_headers.enabled).
	MultiValue bool `json:",omitempty"`
	Port       int  `json:",omitempty"` // of its own, on the server's address; 0: none
	// HealthPath is where the function is asked each HealthInterval seconds whether it is well; 0: never.
	HealthPath     string `json:",omitempty"`
	HealthInterval int    `json:",omitempty"`
	IdleTimeout    int    `json:",omitempty"` // seconds that a function may take; 0: 60
}

// Errors of Add and Remove.
var (
	ErrExists = errors.New("a load balancer of this name is there already")
	ErrNone   = errors.New("there is no such load balancer")
)

var nameRE = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`)

func (b *Balancer) check() error {
	switch {
	case !nameRE.MatchString(b.Name) || strings.HasPrefix(b.Name, "internal-"):
		return fmt.Errorf("%q is no name of a load balancer: up to 32 letters, digits and hyphens", b.Name)
	case b.Port < 0 || b.Port > 65535:
		return fmt.Errorf("%d is no port", b.Port)
	case b.HealthInterval != 0 && (b.HealthInterval < 35 || b.HealthInterval > 300):
		return fmt.Errorf("a health check each %d s: functions are asked each 35 to 300 s", b.HealthInterval)
	case b.HealthPath != "" && !strings.HasPrefix(b.HealthPath, "/"):
		return fmt.Errorf("%q is no path", b.HealthPath)
	case b.IdleTimeout < 0 || b.IdleTimeout > 4000:
		return fmt.Errorf("an idle timeout of %d s: 1 to 4,000 s are possible", b.IdleTimeout)
	}
	return nil
}

// TargetGroup is the ARN that the function is told, and that its policy may name.
func (b *Balancer) TargetGroup() string {
	region, account := "us-east-1", ""
	if p := strings.SplitN(string(b.Function), ":", 6); len(p) == 6 {
		region, account = p[3], p[4]
	}
	sum := sha256.Sum256([]byte(b.Name))
	return "arn:aws:elasticloadbalancing:" + region + ":" + account + ":targetgroup/" + b.Name + "/" + hex.EncodeToString(sum[:8])
}

// Options of a Service. Members without a stated default are required.
type Options struct {
	Records   push.Documents
	Functions *push.Functions
	Log       *slog.Logger
	// Listen serves a port of the server's address until its end is asked for.
	Listen func(port int, h http.Handler) (io.Closer, error)
	// Host refuses requests under names that are not this server's; nil: none.
	Host func(*http.Request) error
	// Check is how long a health check may take; 30 s.
	Check time.Duration
}

// Service serves load balancers. It is an api.Front.
type Service struct {
	o       Options
	records *push.Table[Balancer]

	mu      sync.Mutex // of changes, one at a time
	running map[string]*balancer
}

// balancer is one at work.
type balancer struct {
	*Balancer
	stop     context.CancelFunc
	listener io.Closer // nil: it has no port of its own
	checks   sync.WaitGroup
	requests atomic.Uint64
	trouble  atomic.Pointer[Trouble]
	last     atomic.Int64 // Unix ms of the last request
}

// Trouble is what went wrong last.
type Trouble struct {
	What string
	When time.Time
}

// Info is a balancer and what became of it.
type Info struct {
	*Balancer
	Requests uint64
	Last     time.Time
	Trouble  Trouble
}

// Open reads the balancers and has them serve. A port that is taken is told in the log: the path form works all the same.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Check == 0 {
		o.Check = 30 * time.Second
	}
	records, err := push.OpenTable[Balancer](ctx, o.Records)
	if err != nil {
		return nil, fmt.Errorf("load balancers: %w", err)
	}
	s := &Service{o: o, records: records, running: map[string]*balancer{}}
	for _, b := range records.All() {
		if err := s.start(b); err != nil {
			o.Log.Error("load balancer", "name", b.Name, "port", b.Port, "error", err)
			without := *b
			without.Port = 0
			s.start(&without) //nolint:errcheck // it has no port that could be taken
		}
	}
	return s, nil
}

// Close ends listeners and health checks.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.running {
		s.end(name)
	}
}

// Add makes a balancer: ErrExists, *push.NotAllowedError, *invoke.NotFoundError, and what is wrong with it.
func (s *Service) Add(ctx context.Context, name string, fn function.ARN, set Settings) (*Balancer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &Balancer{Name: name, Function: fn, Created: time.Now().UTC(), Settings: set}
	if err := b.check(); err != nil {
		return nil, err
	}
	if s.records.Get(name) != nil {
		return nil, fmt.Errorf("%s: %w", name, ErrExists)
	}
	if err := s.o.Functions.May(delivery(b, nil)); err != nil {
		return nil, err
	}
	if err := s.start(b); err != nil {
		return nil, err
	}
	if err := s.records.Put(ctx, name, b); err != nil {
		s.end(name)
		return nil, err
	}
	return b, nil
}

// Remove ends a balancer. ErrNone.
func (s *Service) Remove(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.records.Delete(ctx, name); err != nil {
		if errors.Is(err, push.ErrNone) {
			return fmt.Errorf("%s: %w", name, ErrNone)
		}
		return err
	}
	s.end(name)
	return nil
}

// List are the balancers, by name.
func (s *Service) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Info
	for _, r := range s.records.All() {
		i := Info{Balancer: r}
		if b := s.running[r.Name]; b != nil {
			i.Requests = b.requests.Load()
			if ms := b.last.Load(); ms > 0 {
				i.Last = time.UnixMilli(ms)
			}
			if t := b.trouble.Load(); t != nil {
				i.Trouble = *t
			}
		}
		list = append(list, i)
	}
	return list
}

func delivery(b *Balancer, payload []byte) *push.Delivery {
	return &push.Delivery{Function: b.Function, Service: "elasticloadbalancing.amazonaws.com", Source: b.TargetGroup(), Payload: payload}
}

// start has a balancer serve. s.mu is held, or nobody knows s yet.
func (s *Service) start(r *Balancer) error {
	ctx, cancel := context.WithCancel(context.Background())
	b := &balancer{Balancer: r, stop: cancel}
	if r.Port != 0 {
		var err error
		b.listener, err = s.o.Listen(r.Port, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			s.serve(w, q, b, q.URL.EscapedPath(), true)
		}))
		if err != nil {
			cancel()
			return err
		}
	}
	if r.HealthInterval > 0 {
		b.checks.Go(func() { s.look(ctx, b) })
	}
	s.running[r.Name] = b
	return nil
}

// end stops what a balancer does by itself. s.mu is held.
func (s *Service) end(name string) {
	b := s.running[name]
	if b == nil {
		return
	}
	delete(s.running, name)
	b.stop()
	if b.listener != nil {
		b.listener.Close() //nolint:errcheck // nothing to do about it
	}
	b.checks.Wait()
}

// look asks the function now and then whether it is well. A load balancer whose only target is not well sends to it all
// the same, so this is for whoever lists triggers.
func (s *Service) look(ctx context.Context, b *balancer) {
	t := time.NewTicker(time.Duration(b.HealthInterval) * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		event, err := trigger.BalancerCheck(b.TargetGroup(), b.HealthPath, b.MultiValue)
		if err == nil {
			var out *trigger.Response
			within, cancel := context.WithTimeout(ctx, s.o.Check)
			if out, err = s.ask(within, b, event); err == nil && out.Status != http.StatusOK {
				err = fmt.Errorf("the health check is answered with %d", out.Status)
			}
			cancel()
		}
		if err != nil && ctx.Err() == nil {
			b.troubled(err)
		}
	}
}

func (b *balancer) troubled(err error) { b.trouble.Store(&Trouble{err.Error(), time.Now()}) }
