package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"thaw/admin"
	"thaw/eventsource/eventsourcetest"
)

// The commands of triggers, with their examples as the help has them: a bucket's notifications as MinIO sends them and a
// folder tell a function; both are listed, shown and removed, and misuse says what to type.
func TestTriggerCommands(t *testing.T) {
	dir := serving(t)
	deploy(t, dir, "hello")
	t.Chdir(t.TempDir())
	if err := os.Mkdir("in", 0o755); err != nil {
		t.Fatal(err)
	}
	examples := map[string][]string{}
	for _, c := range everyCommand(triggerCommand(&app{})) {
		examples[c.Name()] = shellWords(t, c.Example)[1:]
	}

	var hook admin.MadeTrigger
	if ran(t, &hook, examples["s3"]...); hook.Token == "" || !strings.HasSuffix(hook.At, "/notify/images") || hook.From != "images/*.jpg" {
		t.Fatalf("%+v", hook)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hook.At, strings.NewReader(
		`{"Records":[{"eventName":"s3:ObjectCreated:Put","eventSource":"minio:s3","s3":{"bucket":{"name":"images"},"object":{"key":"a.jpg","sequencer":"1"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+hook.Token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	ran(t, nil, examples["folder"]...)
	eventsourcetest.Until(t, "both triggers have told the function", func() bool {
		written(t, "in/a.txt", "abc")
		var list []admin.Trigger
		ran(t, &list, examples["ls"]...)
		return len(list) == 2 && list[0].Kind == "folder" && list[0].Events > 0 && list[1].Events == 1 && list[1].Name == "images"
	})
	eventsourcetest.Until(t, "the function has run", func() bool {
		return strings.Count(ran(t, nil, "logs", "hello", "--since", "1h"), "REPORT") > 1
	})
	if text := ran(t, nil, examples["show"]...); !strings.Contains(text, "from        images/*.jpg\n") || !strings.Contains(text, "events      1\n") {
		t.Errorf("%s", text)
	}
	if text := ran(t, nil, "trigger", "ls", "hello"); !strings.Contains(text, "s3/images  ") || !strings.Contains(text, "folder/folder-in  ") {
		t.Errorf("%s", text)
	}
	if text := ran(t, nil, examples["rm"]...); text != "removed s3/images, which told hello\n" {
		t.Errorf("%q", text)
	}
	ran(t, nil, "trigger", "rm", "folder-in")
	var topic admin.MadeTrigger
	if ran(t, &topic, append(examples["sns"], "--raw")...); topic.Token == "" || !strings.HasSuffix(topic.At, "/sns/orders/"+topic.Token) {
		t.Errorf("%+v", topic)
	}
	if text := ran(t, nil, "trigger", "ls", "hello"); !strings.Contains(text, "sns/orders ") || strings.Contains(text, topic.Token) {
		t.Errorf("%s", text)
	}
	ran(t, nil, "trigger", "rm", "sns/orders")
	var shop admin.MadeTrigger
	if ran(t, &shop, examples["alb"]...); !strings.HasSuffix(shop.At, "/alb/shop/") {
		t.Errorf("%+v", shop)
	}
	if answer, err = http.Get(shop.At); err != nil { //nolint:noctx // a test
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusBadGateway { // what hello answers is no response
		t.Errorf("the load balancer answers %s", answer.Status)
	}
	if text := ran(t, nil, "trigger", "show", "alb/shop"); !strings.Contains(text, "has no statusCode") && !strings.Contains(text, "no object") {
		t.Errorf("%s", text)
	}
	ran(t, nil, "trigger", "rm", "alb/shop")
	for words, want := range map[string]string{
		"trigger show s3/images":                           "there is no trigger s3/images; type: thaw trigger ls",
		"trigger add s3 b":                                 "--function says",
		"trigger add folder nowhere --function hello":      "nowhere is no folder; type: mkdir nowhere",
		"trigger add s3 b --function hello --event put":    `"put" is no event of S3`,
		"trigger add s3 b --function nobody":               "Function not found",
		"trigger add folder in --function hello --name /x": "is no name of a trigger",
		"trigger add sns o --function hello":               "--topic says",
		"trigger add alb a_b --function hello":             "is no name of a load balancer",
		"trigger add sns o --function hello --topic t":     "is not the ARN of a topic",
	} {
		if r := thaw(t.Context(), strings.Fields(words)...); r.code == exitOK || !strings.Contains(r.words, want) {
			t.Errorf("%s: exit %d, %s", words, r.code, r.words)
		}
	}
}
