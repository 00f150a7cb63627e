package machine

import (
	"errors"
	"net"
	"testing"

	"thaw/guest/control"
	"thaw/guest/wire"
)

func TestRefuseAll(t *testing.T) {
	host, guest := net.Pipe()
	asked := make(chan bool, 1)
	go func() { asked <- refuseAll(guest, errors.New("boot: module erofs: exec format error")) }()
	w, r := wire.NewWriter(host), wire.NewReader(host)
	for _, kind := range []wire.Kind{control.KindPing, control.KindBind} {
		if err := w.Send(kind, nil, nil); err != nil {
			t.Fatal(err)
		}
		var fault control.Fault
		f, err := r.Next()
		if err != nil || f.Kind != control.KindFault || f.Decode(&fault) != nil || fault.Text != "boot: module erofs: exec format error" {
			t.Errorf("answer to %d: %d %s, %v", kind, f.Kind, f.Head, err)
		}
	}
	host.Close()
	if !<-asked {
		t.Error("nobody has heard it, it says")
	}
}
