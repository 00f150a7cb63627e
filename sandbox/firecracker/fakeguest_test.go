package firecracker

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// fakeVar says that this process is a fake machine, in its working directory.
const fakeVar = "THAW_FAKE_MACHINE"

// fakeState is what a fake machine remembers, and its snapshots hold.
type fakeState struct {
	Value  string // drawn at the boot
	Calls  int
	Fresh  string // sum of the last entropy that the host gave
	Mounts int
	Resolv string // name servers, as the last restore gave them
	Held   bool   // until control.KindThaw
	Args   string // of the kernel: words that make it behave badly
}

// fakeGuest is a process that behaves as a machine's guest does, seen from outside: it listens on its two ports, and says
// what it is asked. Its monitor speaks to it on the standard streams: boot, restore, save.
type fakeGuest struct {
	mu       sync.Mutex // guards what follows
	state    fakeState
	restored bool // the stream waits for wire.Restored
	bound    chan struct{}
	control  *wire.Writer
	late     []func() // answers that it has had no time for
}

func fakeMachine() {
	g := &fakeGuest{bound: make(chan struct{})}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			os.Exit(0)
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		g.mu.Lock()
		switch verb {
		case "boot":
			g.state = fakeState{Value: rand.Text(), Args: rest}
			g.listen()
		case "restore":
			if err := json.Unmarshal([]byte(rest), &g.state); err != nil {
				panic(err)
			}
			g.restored = true
			g.listen()
		case "save":
			text, _ := json.Marshal(g.state) //nolint:errcheck // texts and numbers
			fmt.Println(string(text))
		}
		g.mu.Unlock()
	}
}

func (g *fakeGuest) says(word string) bool { return strings.Contains(g.state.Args, word) }

func (g *fakeGuest) listen() {
	for port, serve := range map[uint32]func(net.Conn){control.Port: g.serveControl, control.StreamPort: g.serveStream} {
		l, err := net.Listen("unix", fmt.Sprint(port))
		if err != nil {
			panic(err)
		}
		go func() {
			if port == control.StreamPort && !g.restored {
				<-g.bound
			}
			for {
				c, err := l.Accept()
				if err != nil {
					panic(err)
				}
				go serve(c)
			}
		}()
	}
}

func (g *fakeGuest) serveControl(c net.Conn) {
	r, w := wire.NewReader(c), wire.NewWriter(c)
	for {
		f, err := r.Next()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.control = w
		g.answer(f, w)
		g.mu.Unlock()
	}
}

// answer answers one request of control.
func (g *fakeGuest) answer(f wire.Frame, w *wire.Writer) {
	var head any
	switch f.Kind {
	case control.KindBind:
		if g.says("bindfault") {
			w.Send(control.KindFault, control.Fault{Text: "no such drive"}, nil)
			return
		}
		var b control.Bind
		check(f.Decode(&b))
		g.state.Mounts = len(b.Mounts)
		g.freshen(b.Fresh)
		close(g.bound)
		head = control.Bound{Baseline: 5 << 20}
	case control.KindMemory:
		head = control.Memory{Used: int64(g.state.Calls+1) << 20}
	case control.KindFreeze:
		g.state.Held = g.says("computing")
		head = control.Freeze{Memory: control.Memory{Used: int64(g.state.Calls+1) << 20}, Held: g.state.Held}
	case control.KindThaw:
		if g.says("mutethaw") {
			return
		}
		g.state.Held = false
	case control.KindSave:
		if g.says("mutesave") {
			return
		}
		if g.says("savefault") {
			w.Send(control.KindFault, control.Fault{Text: "disk"}, nil)
			return
		}
	case control.KindRestored:
		var r control.Restored
		check(f.Decode(&r))
		g.freshen(r.Fresh)
		g.state.Resolv = string(r.Files["/etc/resolv.conf"])
	case control.KindPing:
	}
	if (f.Kind == control.KindMemory || f.Kind == control.KindFreeze) && g.says("slowmemory") {
		g.late = append(g.late, func() { w.Send(f.Kind, head, nil) })
		return
	}
	for _, send := range g.late { // in order
		send()
	}
	g.late = nil
	w.Send(f.Kind, head, nil)
}

func (g *fakeGuest) freshen(f control.Fresh) {
	h := sha256.Sum256(f.Entropy)
	g.state.Fresh = hex.EncodeToString(h[:])
}

// serveStream is one life of the stream; the machine ends with it, as with its guest.
func (g *fakeGuest) serveStream(c net.Conn) {
	r, w := wire.NewReader(c), wire.NewWriter(c)
	g.mu.Lock()
	silent, restored := g.says("nohello"), g.restored
	g.mu.Unlock()
	if silent {
		return
	}
	if !restored {
		w.Send(wire.KindHello, wire.Hello{Version: wire.Version, PID: 1}, nil)
	}
	for {
		f, err := r.Next()
		if err != nil {
			os.Exit(0)
		}
		g.mu.Lock()
		switch f.Kind {
		case wire.KindRestored:
			w.Send(wire.KindReady, wire.Ready{}, nil)
		case wire.KindQuiesce:
			w.Send(wire.KindQuiesced, nil, nil)
		case wire.KindInvoke:
			g.invoke(string(f.Body), w)
		}
		g.mu.Unlock()
	}
}

func (g *fakeGuest) invoke(event string, w *wire.Writer) {
	switch event {
	case "oom":
		g.control.Send(control.KindOutOfMemory, control.OutOfMemory{Count: 1}, nil)
	case "die":
		fmt.Fprintln(os.Stderr, "Kernel panic: attempted to kill init")
		os.Exit(3)
	case "eat": // more than any machine of the tests has, as a monitor would that somebody has taken over
		eaten := make([]byte, 1<<30)
		for i := 0; i < len(eaten); i += 4096 {
			eaten[i] = 1
		}
	case "break off":
		g.control.Send(99, nil, nil) // nonsense: the host hangs up
	}
	g.state.Calls++
	text, _ := json.Marshal(g.state) //nolint:errcheck // texts and numbers
	w.Send(wire.KindResponse, wire.ResponseHead{}, text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
