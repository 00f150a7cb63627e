package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
)

// TestSnapshotCommands runs the examples of thaw snapshot against a version of hello that has a snapshot.
func TestSnapshotCommands(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("snapshots need the gvisor sandbox, which needs root")
	}
	dir := servingIn(t, "gvisor")
	deploy(t, dir, "hello")
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, name := newClient(health.Endpoint, region(), testKey, nil), "hello"
	if _, err := client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name,
		SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	v, err := client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewPublishedVersionActiveWaiter(client).Wait(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: v.Version}, 2*time.Minute); err != nil {
		t.Fatal(err)
	}

	one := func(args ...string) (s admin.Snapshot) {
		t.Helper()
		r := thaw(t.Context(), append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(r.out), &s); err != nil || r.code != exitOK {
			t.Fatalf("%q: exit %d, %v, stdout %q, stderr %q", args, r.code, err, r.out, r.words)
		}
		return s
	}
	first := one("snapshot", "inspect", "hello:1")
	if first.State != "current" || first.Generation != 1 || first.Bytes == 0 || first.Pages == 0 || len(first.Stages) < 4 || first.KeyHash == "" || first.PolicyFrom != "none" {
		t.Errorf("%+v", first)
	}
	for _, c := range everyCommand(snapshotCommand(&app{})) {
		if c.HasSubCommands() || c.Name() == "rm" {
			continue
		}
		example := shellWords(t, "thaw snapshot "+strings.TrimPrefix(c.Example, "thaw snapshot "))[1:]
		r := thaw(t.Context(), example...)
		if r.code != exitOK || r.out == "" {
			t.Errorf("%q: exit %d\nstdout %q\nstderr %q", example, r.code, r.out, r.words)
		}
		t.Logf("%q\n%s", example, r.out)
	}
	second := one("snapshot", "inspect", "hello")
	if second.Generation != 2 || second.ID == first.ID || second.PolicyFrom != "api" || second.Policy.Interval != 10*time.Minute || second.Expires.Sub(second.Born) != time.Hour {
		t.Errorf("after a refresh and a policy of an hour: %+v", second)
	}
	if s := one("snapshot", "policy", "hello:1", "--tags"); s.PolicyFrom != "none" || !s.Expires.IsZero() {
		t.Errorf("without a policy: %+v", s)
	}
	if s := one("snapshot", "rm", "hello:1"); s.State != "shelved" || s.ID != "" {
		t.Errorf("removed: %+v", s)
	}
	if r := thaw(t.Context(), "invoke", "hello", "--qualifier", "1", "-p", "{}"); r.code != exitOK {
		t.Errorf("invoke without a snapshot: %s", r.words)
	}
	for end := time.Now().Add(time.Minute); one("snapshot", "inspect", "hello:1").Generation != 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no snapshot was made after the invoke")
		}
	}
	for _, args := range []string{"snapshot refresh nobody:1", "snapshot rm hello:7", "snapshot doctor nobody", "snapshot inspect nobody"} {
		if r := thaw(t.Context(), strings.Fields(args)...); r.code != exitFailed || !strings.Contains(r.words, "has no snapshot here") {
			t.Errorf("%s: exit %d, stderr %q", args, r.code, r.words)
		}
	}
}
