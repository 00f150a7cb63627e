package admin

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"thaw/internal/childtest"
)

// TestClaimHolder is the child of TestClaimAfterKill: a process that is big enough to take a while to go.
func TestClaimHolder(t *testing.T) {
	release, err := Claim(childtest.Arg(t))
	if err != nil {
		t.Fatal(err)
	}
	defer release() // holds the file until then
	big := make([]byte, 200<<20)
	for i := 0; i < len(big); i += 4096 {
		big[i] = 1
	}
	fmt.Println("claimed")
	time.Sleep(time.Minute)
	t.Fatal("nobody killed it: ", big[0])
}

// Who starts right after a kill -9 is not refused for the process that is on its way out; one that lives is refused at once.
func TestClaimAfterKill(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		c := childtest.Start(t, "TestClaimHolder", dir)
		c.Says("claimed")
		began := time.Now()
		if _, err := Claim(dir); err == nil || time.Since(began) > dyingLimit/2 {
			t.Errorf("while it lives: %v after %v", err, time.Since(began))
		}
		if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil { // without a wait for its end
			t.Fatal(err)
		}
		release, err := Claim(dir)
		if err != nil {
			t.Errorf("right after the kill: %v", err)
		} else {
			release()
		}
		c.Kill()
	}
}
