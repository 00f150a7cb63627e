// Agent is the first process of machines in the suite of monitors. It does what is asked on control.Port (package
// vmmtest has the questions), and sends back whatever comes on control.StreamPort.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
	"thaw/guest/machine"
	"thaw/guest/wire"
	"thaw/sandbox/firecracker/vmm/vmmtest/ask"
)

func main() {
	err := machine.Serve(map[uint32]func(io.ReadWriteCloser){
		control.Port:       serve,
		control.StreamPort: func(c io.ReadWriteCloser) { io.Copy(c, c); c.Close() },
	})
	if err != nil {
		fmt.Println("agent:", err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	select {}
}

func serve(c io.ReadWriteCloser) {
	defer c.Close()
	r, w := wire.NewReader(c), wire.NewWriter(c)
	for {
		f, err := r.Next()
		if err != nil {
			return
		}
		var q ask.Question
		answer, body, err := ask.Answer{}, []byte(nil), f.Decode(&q)
		if err == nil {
			answer, body, err = do(f.Kind, q, f.Body)
		}
		if err != nil {
			answer.Err = err.Error()
		}
		if w.Send(f.Kind, answer, body) != nil {
			return
		}
	}
}

// memory is what Fill has left.
var memory []byte

func do(kind wire.Kind, q ask.Question, body []byte) (a ask.Answer, answer []byte, err error) {
	switch kind {
	case ask.Echo:
		return a, body, nil
	case ask.Fill:
		memory = bytes.Repeat([]byte(q.Text), q.Length/len(q.Text))
		return a, nil, nil
	case ask.Sum:
		sum := sha256.Sum256(memory)
		a.Text = hex.EncodeToString(sum[:])
		return a, nil, nil
	case ask.Read:
		f, err := os.Open(q.Text)
		if err != nil {
			return a, nil, err
		}
		defer f.Close()
		if a.Size, err = f.Seek(0, io.SeekEnd); err != nil {
			return a, nil, err
		}
		answer = make([]byte, q.Length)
		n, err := f.ReadAt(answer, q.Offset)
		if err == io.EOF {
			err = nil
		}
		return a, answer[:n], err
	case ask.Write:
		f, err := os.OpenFile(q.Text, os.O_RDWR|unix.O_SYNC, 0)
		if err != nil {
			return a, nil, err
		}
		defer f.Close()
		_, err = f.WriteAt(body, q.Offset)
		return a, nil, err
	case ask.Network:
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return a, nil, err
		}
		a.Text = i.HardwareAddr.String()
		return a, nil, nil
	case ask.End:
		return a, nil, unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	return a, nil, fmt.Errorf("question %d", kind)
}
