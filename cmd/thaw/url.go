package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/internal/project"
)

// shownURL is a function's URL as -o json prints it.
type shownURL struct {
	Function  string      `json:"function"`
	Qualifier string      `json:"qualifier,omitempty"` // alias
	URL       string      `json:"url"`
	Auth      string      `json:"auth"` // none or iam
	Stream    bool        `json:"stream"`
	CORS      *types.Cors `json:"cors,omitempty"`
}

func (s *shownURL) qualified() string {
	if s.Qualifier == "" {
		return s.Function
	}
	return s.Function + ":" + s.Qualifier
}

// auths are the API's words for the command line's.
var auths = map[string]types.FunctionUrlAuthType{"none": types.FunctionUrlAuthTypeNone, "iam": types.FunctionUrlAuthTypeAwsIam}

func urlOf(arn, url *string, auth types.FunctionUrlAuthType, mode types.InvokeMode, cors *types.Cors) *shownURL {
	s := &shownURL{URL: aws.ToString(url), Auth: "none", Stream: mode == types.InvokeModeResponseStream, CORS: cors}
	if auth == types.FunctionUrlAuthTypeAwsIam {
		s.Auth = "iam"
	}
	s.Function, _ = nameOf(aws.ToString(arn))
	_, s.Qualifier = qualifiedName(aws.ToString(arn))
	return s
}

// qualifiedName splits NAME:QUALIFIER, and an ARN likewise, into what is in front of the qualifier and the qualifier.
func qualifiedName(function string) (unqualified, qualifier string) {
	parts, at := strings.Split(function, ":"), 1
	if parts[0] == "arn" {
		at = 7
	}
	at = min(at, len(parts))
	return strings.Join(parts[:at], ":"), strings.Join(parts[at:], ":")
}

func urlCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "url",
		Short: "URLs at which functions answer HTTP requests",
		Long: `A function has one URL, and each of its aliases can have one. It is named as the function, or FUNCTION:ALIAS.
thaw deploy --url makes one, too.`,
		Example: "thaw url ls",
	}, urlLsCommand(a), urlShowCommand(a), urlSetCommand(a), urlRmCommand(a))
}

func urlLsCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "ls [FUNCTION]",
		Aliases: []string{"list"},
		Short:   "List the URLs of a function, or of all functions of the region",
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw url ls -o json",
	}, []operand{aFunction}, func(c *call) error {
		names := c.names
		if len(names) == 0 {
			all, err := functionsOf(c, c.client)
			if err != nil {
				return err
			}
			names = all
		}
		list := []*shownURL{}
		for _, name := range names {
			of, err := urlsOf(c, c.client, name)
			if err != nil && (len(c.names) == 1 || !errors.As(err, new(*types.ResourceNotFoundException))) { // it may have been deleted since
				return err
			}
			list = append(list, of...)
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"FUNCTION", "AUTH", "STREAM", "URL"}}
			for _, s := range list {
				stream := "-"
				if s.Stream {
					stream = "yes"
				}
				rows = append(rows, []string{s.qualified(), s.Auth, stream, s.URL})
			}
			table(w, rows)
		})
	})
}

// urlsOf are the URLs of a function and its aliases.
func urlsOf(ctx context.Context, client *lambda.Client, function string) (list []*shownURL, err error) {
	for p := lambda.NewListFunctionUrlConfigsPaginator(client, &lambda.ListFunctionUrlConfigsInput{FunctionName: &function}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range page.FunctionUrlConfigs {
			list = append(list, urlOf(u.FunctionArn, u.FunctionUrl, u.AuthType, u.InvokeMode, u.Cors))
		}
	}
	return list, nil
}

func urlShowCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "show FUNCTION[:ALIAS]",
		Short:   "Show a URL and who may call it",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw url show hello",
	}, []operand{aQualified}, func(c *call) error {
		s, err := getURL(c, c.client, c.names[0])
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			mode, cors := "the response is buffered", ""
			if s.Stream {
				mode = "the response is streamed"
			}
			if s.CORS != nil {
				cors = strings.Join(s.CORS.AllowOrigins, ", ")
			}
			fields(w, "function", s.qualified(), "URL", s.URL, "auth", s.Auth, "mode", mode, "origins", cors)
		})
	})
}

// getURL is the URL of NAME, NAME:ALIAS or an ARN.
func getURL(ctx context.Context, client *lambda.Client, function string) (*shownURL, error) {
	name, alias := qualifiedName(function)
	out, err := client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name, Qualifier: orNil(alias)})
	if err != nil {
		return nil, err
	}
	return urlOf(out.FunctionArn, out.FunctionUrl, out.AuthType, out.InvokeMode, out.Cors), nil
}

func urlSetCommand(a *app) *cobra.Command {
	var (
		u       project.URL
		stream  bool
		origins []string
	)
	cmd := &cobra.Command{
		Use:   "set FUNCTION[:ALIAS]",
		Short: "Give a function a URL, or change it",
		Long: `Gives the function, or its alias, a URL, or changes what is given of the one it has. With --auth none whoever reaches the server may call it, and the
function's policy says so; with --auth iam requests must be signed.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw url set hello --auth none --origin https://example.com",
	}
	cmd.Flags().StringVar(&u.Auth, "auth", "none", "none or iam: how the URL knows its callers")
	cmd.Flags().BoolVar(&stream, "stream", false, "the response is streamed; --stream=false: no more")
	cmd.Flags().StringSliceVar(&origins, "origin", nil, "origin whose web pages may call it, or *; can be given several times")
	cmd.RegisterFlagCompletionFunc("auth", cobra.FixedCompletions(project.Auths, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the flag is there
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if cmd.Flags().Changed("stream") {
			u.Stream = &stream
		}
		if len(origins) > 0 {
			u.CORS = &project.CORS{Origins: origins, Methods: []string{"*"}}
		}
		if err := (&project.Settings{URL: &u}).Validate(); err != nil {
			return misuse{err}
		}
		return nil
	}
	return calling(a, cmd, []operand{aQualified}, func(c *call) error {
		name, alias := qualifiedName(c.names[0])
		s, err := setURL(c, c.client, name, alias, &u)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintln(w, s.URL) })
	})
}

// setURL gives a function or an alias a URL, or changes it, and lets everybody call one without auth.
func setURL(ctx context.Context, client *lambda.Client, function, alias string, u *project.URL) (s *shownURL, err error) {
	var (
		mode types.InvokeMode
		cors *types.Cors
	)
	switch {
	case u.Stream == nil:
	case *u.Stream:
		mode = types.InvokeModeResponseStream
	default:
		mode = types.InvokeModeBuffered
	}
	if c := u.CORS; c != nil {
		cors = &types.Cors{AllowOrigins: c.Origins, AllowMethods: c.Methods, AllowHeaders: c.Headers, ExposeHeaders: c.Expose,
			AllowCredentials: &c.Credentials, MaxAge: (*int32)(&c.MaxAge)}
	}
	in := &lambda.UpdateFunctionUrlConfigInput{FunctionName: &function, Qualifier: orNil(alias), AuthType: auths[u.Auth], InvokeMode: mode, Cors: cors}
	out, err := client.UpdateFunctionUrlConfig(ctx, in)
	switch {
	case err == nil:
		s = urlOf(out.FunctionArn, out.FunctionUrl, out.AuthType, out.InvokeMode, out.Cors)
	case errors.As(err, new(*types.ResourceNotFoundException)):
		made, err := client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: &function, Qualifier: orNil(alias),
			AuthType: auths[u.Auth], InvokeMode: mode, Cors: cors})
		if err != nil {
			return nil, err
		}
		s = urlOf(made.FunctionArn, made.FunctionUrl, made.AuthType, mode, made.Cors)
	default:
		return nil, err
	}
	if u.Auth == "none" {
		return s, openURL(ctx, client, function, alias)
	}
	return s, closeURL(ctx, client, function, alias)
}

// openStatements are the statements of the function's policy that let everybody call its URL: what AWS's console adds.
var openStatements = []*lambda.AddPermissionInput{
	{StatementId: aws.String("FunctionURLAllowPublicAccess"), Action: aws.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone},
	{StatementId: aws.String("FunctionURLAllowInvokeAction"), Action: aws.String("lambda:InvokeFunction"), InvokedViaFunctionUrl: aws.Bool(true)},
}

func openURL(ctx context.Context, client *lambda.Client, function, alias string) error {
	for _, statement := range openStatements {
		in := *statement
		in.FunctionName, in.Qualifier, in.Principal = &function, orNil(alias), aws.String("*")
		if _, err := client.AddPermission(ctx, &in); err != nil && !errors.As(err, new(*types.ResourceConflictException)) { // it has the statement
			return err
		}
	}
	return nil
}

// closeURL takes the statements away that openURL added.
func closeURL(ctx context.Context, client *lambda.Client, function, alias string) error {
	for _, statement := range openStatements {
		_, err := client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &function, Qualifier: orNil(alias), StatementId: statement.StatementId})
		if err != nil && !errors.As(err, new(*types.ResourceNotFoundException)) {
			return err
		}
	}
	return nil
}

func urlRmCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "rm FUNCTION[:ALIAS]",
		Aliases: []string{"delete"},
		Short:   "Delete a URL",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw url rm hello",
	}, []operand{aQualified}, func(c *call) error {
		s, err := getURL(c, c.client, c.names[0])
		if err != nil {
			return err
		}
		name, alias := qualifiedName(c.names[0])
		if _, err := c.client.DeleteFunctionUrlConfig(c, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &name, Qualifier: orNil(alias)}); err != nil {
			return err
		}
		if err := closeURL(c, c.client, name, alias); err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintln(w, "deleted", s.URL) })
	})
}
