// Daily is the day's function in Go, on nothing but the Runtime API: day_functions.go says what all of them answer.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type event struct {
	N    int64  `json:"n"`
	Text string `json:"text"`
	Ms   int64  `json:"ms"`
}

type answer struct {
	N        int64  `json:"n"`
	Text     string `json:"text"`
	Revision int    `json:"revision"`
	Version  string `json:"version"`
	How      string `json:"how"`
	Env      string `json:"env"`
	Count    int    `json:"count"`
	Born     int64  `json:"born"`
	Now      int64  `json:"now"`
}

func main() {
	born := time.Now().UnixMilli()
	b, err := os.ReadFile(os.Getenv("LAMBDA_TASK_ROOT") + "/revision")
	if err != nil {
		log.Fatal(err)
	}
	revision, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		log.Fatal(err)
	}
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	env, count := "", 0
	for {
		resp, err := http.Get(api + "next")
		if err != nil {
			log.Fatal(err)
		}
		var e event
		err = json.NewDecoder(resp.Body).Decode(&e)
		resp.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		now := time.Now().UnixMilli()
		if env == "" {
			env = rand.Text()
		}
		count++
		time.Sleep(time.Duration(e.Ms) * time.Millisecond)
		out, err := json.Marshal(answer{e.N, e.Text, revision, os.Getenv("AWS_LAMBDA_FUNCTION_VERSION"), os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE"), env, count, born, now})
		if err != nil {
			log.Fatal(err)
		}
		accepted, err := http.Post(api+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(out))
		if err != nil {
			log.Fatal(err)
		}
		accepted.Body.Close()
	}
}
