package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// settleLimit bounds the wait for a function: its runtime may have to be fetched first.
const settleLimit = 15 * time.Minute

func waitUpdated(ctx context.Context, client *lambda.Client, name string) error {
	return lambda.NewFunctionUpdatedV2Waiter(client, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	}).
		Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, settleLimit)
}

// settled waits until the function, or the published version, can be invoked, and tells what it waits for when that
// takes a while.
func (a *app) settled(ctx context.Context, client *lambda.Client, d *deployment) error {
	in := &lambda.GetFunctionInput{FunctionName: &d.Function}
	if d.Version != "" {
		in.Qualifier = &d.Version
	}
	told, delay := "", 20*time.Millisecond
	for end := time.Now().Add(settleLimit); ; {
		out, err := client.GetFunction(ctx, in)
		if err != nil {
			return plainer(err)
		}
		c := out.Configuration
		switch {
		case c.State == types.StateFailed:
			return fmt.Errorf("%s is Failed: %s", d.Function, aws.ToString(c.StateReason))
		case c.LastUpdateStatus == types.LastUpdateStatusFailed:
			return fmt.Errorf("the update of %s failed, and what it was before still serves: %s", d.Function, aws.ToString(c.LastUpdateStatusReason))
		case c.State != types.StatePending && c.LastUpdateStatus != types.LastUpdateStatusInProgress:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s is still %s after %v: %s", d.Function, c.State, settleLimit, aws.ToString(c.StateReason))
		}
		if why := aws.ToString(c.StateReason); why != "" && why != told && delay > 200*time.Millisecond {
			fmt.Fprintf(a.words, "waiting: %s\n", visible(why))
			told = why
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
		delay = min(2*delay, 500*time.Millisecond)
	}
}

// release does what comes after the function itself: its concurrency and tags, a version, the alias, the URL and the API.
func (a *app) release(ctx context.Context, client *lambda.Client, d *deployment) error {
	w := &d.want
	if w.Concurrency != nil {
		in := &lambda.PutFunctionConcurrencyInput{FunctionName: &d.Function, ReservedConcurrentExecutions: (*int32)(w.Concurrency)}
		if _, err := client.PutFunctionConcurrency(ctx, in); err != nil {
			return err
		}
	}
	if len(w.Tags) > 0 && d.Change != "created" {
		if _, err := client.TagResource(ctx, &lambda.TagResourceInput{Resource: &d.ARN, Tags: d.tags()}); err != nil {
			return err
		}
	}
	if w.Publishes() {
		if err := a.publish(ctx, client, d); err != nil {
			return err
		}
	}
	if w.Alias != "" {
		in := &lambda.UpdateAliasInput{FunctionName: &d.Function, Name: &w.Alias, FunctionVersion: &d.Version, RoutingConfig: &types.AliasRoutingConfiguration{}}
		if _, err := setAlias(ctx, client, in); err != nil {
			return fmt.Errorf("alias %s: %w", w.Alias, err)
		}
		d.Alias = w.Alias
	}
	if w.Provisioned != nil {
		if err := a.provision(ctx, client, d); err != nil {
			return err
		}
	}
	if w.URL != nil {
		s, err := setURL(ctx, client, d.Function, d.Alias, w.URL)
		if err != nil {
			return fmt.Errorf("URL: %w", err)
		}
		d.URL = s.URL
	}
	if w.API {
		s, err := (&newAPI{}).make(ctx, client, gatewaysOf(client), strings.TrimSuffix(d.Function+":"+d.Alias, ":"))
		if err != nil {
			return fmt.Errorf("API: %w", err)
		}
		d.API = s.Stages[0].URL
	}
	return nil
}

func (a *app) publish(ctx context.Context, client *lambda.Client, d *deployment) error {
	out, err := client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &d.Function})
	if err != nil {
		return err
	}
	d.Version = aws.ToString(out.Version)
	return a.settled(ctx, client, d)
}

// provision asks for provisioned concurrency of the alias, or of the version, and waits until it is there. 0: none any more.
func (a *app) provision(ctx context.Context, client *lambda.Client, d *deployment) error {
	qualifier, n := cmp.Or(d.Alias, d.Version), int32(*d.want.Provisioned)
	if n == 0 {
		in := &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &d.Function, Qualifier: &qualifier}
		_, err := client.DeleteProvisionedConcurrencyConfig(ctx, in)
		return err
	}
	_, err := client.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &d.Function, Qualifier: &qualifier,
		ProvisionedConcurrentExecutions: &n})
	get := &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &d.Function, Qualifier: &qualifier}
	for end := time.Now().Add(settleLimit); err == nil; {
		var out *lambda.GetProvisionedConcurrencyConfigOutput
		out, err = client.GetProvisionedConcurrencyConfig(ctx, get)
		switch {
		case err != nil:
		case out.Status == types.ProvisionedConcurrencyStatusEnumReady:
			return nil
		case out.Status == types.ProvisionedConcurrencyStatusEnumFailed:
			return fmt.Errorf("provisioned concurrency of %s: %s", qualifier, aws.ToString(out.StatusReason))
		case time.Now().After(end):
			return fmt.Errorf("provisioned concurrency of %s is still in progress after %v", qualifier, settleLimit)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

// deployed says what was done and what to type next.
func (a *app) deployed(d *deployment) {
	name := d.Function
	fmt.Fprintf(a.out, "%s %s in %s\n", name, d.Change, d.Took)
	switch {
	case d.Version != "" && d.want.SnapStart:
		fmt.Fprintf(a.out, "version %s starts from a snapshot\n", d.Version)
	case d.Version != "":
		fmt.Fprintf(a.out, "version %s is published\n", d.Version)
	}
	if d.Version != "" {
		name += ":" + cmp.Or(d.Alias, d.Version)
	}
	if d.Alias != "" {
		fmt.Fprintf(a.out, "alias %s leads to it\n", d.Alias)
	}
	for _, u := range []string{d.URL, d.API} {
		if u != "" {
			fmt.Fprintln(a.out, u)
		}
	}
	fmt.Fprintf(a.words, "\nNext:\n  thaw invoke %s --payload '{}' --tail\n  thaw logs -f %s\n", name, d.Function)
}
