// Echo is the smallest runtime: it answers every event with the event, unread.
package main

import (
	"log"
	"net/http"
	"os"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		event, err := http.Get(api + "next")
		if err != nil {
			log.Fatal(err)
		}
		answer, err := http.NewRequest(http.MethodPost, api+event.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", event.Body)
		if err != nil {
			log.Fatal(err)
		}
		answer.ContentLength = event.ContentLength
		accepted, err := http.DefaultClient.Do(answer)
		if err != nil {
			log.Fatal(err)
		}
		accepted.Body.Close()
		event.Body.Close()
	}
}
