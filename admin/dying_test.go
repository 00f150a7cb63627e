package admin

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

const holderDir = "THAW_TEST_CLAIM_DIR"

// TestClaimHolder is the child of TestClaimAfterKill: a process that is big enough to take a while to go.
func TestClaimHolder(t *testing.T) {
	dir := os.Getenv(holderDir)
	if dir == "" {
		t.Skip("the child of TestClaimAfterKill")
	}
	release, err := Claim(dir)
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
		c := exec.Command(os.Args[0], "-test.run=^TestClaimHolder$")
		c.Env = append(os.Environ(), holderDir+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "claimed\n" {
			t.Fatalf("the child said %q, %v", line, err)
		}
		began := time.Now()
		if _, err := Claim(dir); err == nil || time.Since(began) > dyingLimit/2 {
			t.Errorf("while it lives: %v after %v", err, time.Since(began))
		}
		c.Process.Kill()
		release, err := Claim(dir)
		if err != nil {
			t.Errorf("right after the kill: %v", err)
		} else {
			release()
		}
		c.Wait() //nolint:errcheck // killed
	}
}
