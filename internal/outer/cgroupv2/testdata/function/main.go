// The function of the lane: it counts its invocations, keeps memory, and says which process it is.
package main

import (
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct{ KeepMiB int }

type answer struct {
	Count int    // invocations of this environment, those before its snapshot too
	Born  string // differs for each process that was started
}

var (
	count int
	kept  [][]byte
	born  = random()
)

func random() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func handle(e event) (answer, error) {
	for range e.KeepMiB {
		page := make([]byte, 1<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
		kept = append(kept, page)
	}
	count++
	return answer{count, born}, nil
}

func main() { lambda.Start(handle) }
