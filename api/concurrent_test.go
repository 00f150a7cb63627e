package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
)

// clients change one function side by side.
const clients = 64

// Whatever 64 clients do to one function at once is one history. With RevisionId nobody's change is lost: a count that
// each of them reads and writes one higher says in the end how often that succeeded, and no revision has two successors.
// Without it each change that succeeded is there, and none that was refused. Versions that are published meanwhile have
// numbers of their own, one higher each time. (THAW_TEST_UPDATES is how many updates are to succeed.)
func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	most := int64(8)
	if n, err := strconv.ParseInt(os.Getenv("THAW_TEST_UPDATES"), 10, 64); err == nil {
		most = n
	}
	w := newWorld(t, func(o *options) { o.Settle = time.Millisecond })
	w.published("orders", 1, func(in *lambda.CreateFunctionInput) { in.Description = aws.String("0") })
	name, ctx := aws.String("orders"), t.Context()
	transport := &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	w.client = newClient(w.url, transport, region)
	if _, err := w.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("1"), Description: aws.String("0")}); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) bool { // another client was quicker: the only thing that may be in the way
		var e smithy.APIError
		if errors.As(err, &e) {
			switch e.ErrorCode() {
			case "PreconditionFailedException", "ResourceConflictException":
				return true
			}
		}
		if err != nil {
			t.Error(err)
		}
		return false
	}
	var config, alias counted
	var published sync.Map // version numbers
	var versions, permissions atomic.Int64
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for round := 0; !t.Failed() && (config.successes() < most || alias.successes() < most); round++ {
				switch (client + round) % 4 {
				case 0, 1:
					alias.step(t, refused, func(ctx context.Context) (string, string, error) {
						a, err := w.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("live")})
						if err != nil {
							return "", "", err
						}
						return *a.Description, *a.RevisionId, nil
					}, func(ctx context.Context, text, revision string) error {
						_, err := w.client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: name, Name: aws.String("live"), Description: &text, RevisionId: &revision})
						return err
					})
				case 2:
					config.step(t, refused, func(ctx context.Context) (string, string, error) {
						c, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name})
						if err != nil {
							return "", "", err
						}
						return *c.Description, *c.RevisionId, nil
					}, func(ctx context.Context, text, revision string) error {
						_, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Description: &text, RevisionId: &revision})
						return err
					})
				case 3:
					if id := permissions.Add(1); id <= 100 { // without a RevisionId
						_, err := w.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String(fmt.Sprint("s", id)),
							Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("sns.amazonaws.com")})
						if err != nil {
							t.Errorf("permission %d: %v", id, err)
						}
					}
					v, err := w.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name})
					if err == nil {
						if _, twice := published.LoadOrStore(*v.Version, *v.Description); !twice {
							versions.Add(1)
						} else if was, _ := published.Load(*v.Version); was != *v.Description {
							t.Errorf("version %s is of %v and of %s", *v.Version, was, *v.Description)
						}
					} else {
						refused(err)
					}
				}
			}
		})
	}
	all.Wait()
	c, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name})
	if err != nil || *c.Description != fmt.Sprint(config.successes()) {
		t.Errorf("the function says %s after %d successes, %v", aws.ToString(c.Description), config.successes(), err)
	}
	a, err := w.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("live")})
	if err != nil || *a.Description != fmt.Sprint(alias.successes()) {
		t.Errorf("the alias says %s after %d successes, %v", aws.ToString(a.Description), alias.successes(), err)
	}
	for id := range min(permissions.Load(), 100) {
		if _, err := w.client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String(fmt.Sprint("s", id+1))}); err != nil {
			t.Errorf("permission %d is lost: %v", id+1, err)
		}
	}
	if config.refused.Load()+alias.refused.Load() == 0 {
		t.Error("nobody was ever too late: nothing was tried at once")
	}
	t.Logf("%d updates of the function, %d of the alias, %d versions, %d were too late", config.successes(), alias.successes(), versions.Load(), config.refused.Load()+alias.refused.Load())
}

// counted is a count that stands in a description.
type counted struct {
	done, refused atomic.Int64
	taken         sync.Map // revisions that somebody's change succeeded
}

func (c *counted) successes() int64 { return c.done.Load() }

// step reads the count and writes it one higher, if it is still what was read.
func (c *counted) step(t *testing.T, refused func(error) bool, read func(context.Context) (text, revision string, err error),
	write func(ctx context.Context, text, revision string) error) {
	text, revision, err := read(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Errorf("a count that is none: %q", text)
		return
	}
	switch err := write(t.Context(), strconv.Itoa(n+1), revision); {
	case err == nil:
		c.done.Add(1)
		if _, twice := c.taken.LoadOrStore(revision, true); twice {
			t.Errorf("revision %s has two successors", revision)
		}
	case refused(err):
		c.refused.Add(1)
	}
}
