package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// newAPI is an HTTP API that thaw makes.
type newAPI struct {
	name    string
	routes  []string // keys; none: $default, which is everything
	origins []string
}

func apiAddCommand(a *app) *cobra.Command {
	var n newAPI
	cmd := &cobra.Command{
		Use:     "add FUNCTION[:ALIAS]",
		Aliases: []string{"create"},
		Short:   "Put an HTTP API in front of a function, and print its URL",
		Long: `Makes an HTTP API whose routes lead to the function, or to its alias, with a stage that has each change at once, and lets it invoke
the function. Without --route all requests go there. An API that was made so before, under the same name, is left as it is.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: `thaw api add hello --route "GET /orders/{id}" --route "POST /orders" --origin https://example.com`,
	}
	cmd.Flags().StringVar(&n.name, "name", "", "name of the API (default the function's)")
	cmd.Flags().StringArrayVar(&n.routes, "route", nil, `"METHOD /PATH", as GET /orders/{id} or ANY /{proxy+}; can be given several times`)
	cmd.Flags().StringSliceVar(&n.origins, "origin", nil, "origin whose web pages may call it, or *; can be given several times")
	return calling(a, cmd, []operand{aQualified}, func(c *call) error {
		s, err := n.make(c, c.client, gatewaysOf(c.client), c.names[0])
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintln(w, s.Stages[0].URL) })
	})
}

// make puts an API in front of a function. One that leads there already, under the same name, is taken as it is.
func (n *newAPI) make(ctx context.Context, client *lambda.Client, g gateways, function string) (*shownAPI, error) {
	name, alias := qualifiedName(function)
	out, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: orNil(alias)})
	if err != nil {
		return nil, err
	}
	arn := aws.ToString(out.FunctionArn)
	if n.name == "" {
		n.name = strings.TrimSuffix(aws.ToString(out.FunctionName)+"-"+alias, "-")
	}
	s, err := n.there(ctx, g, arn)
	if err == nil && s == nil {
		s, err = n.create(ctx, g, arn)
	}
	if err != nil {
		return nil, err
	}
	unqualified, _ := qualifiedName(arn)
	parts := strings.Split(unqualified, ":")
	_, err = client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: &name, Qualifier: orNil(alias), StatementId: aws.String("api-" + s.ID),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("apigateway.amazonaws.com"),
		SourceArn: aws.String(strings.Join([]string{"arn", parts[1], "execute-api", parts[3], parts[4], s.ID}, ":") + "/*")})
	if err != nil && !errors.As(err, new(*lambdatypes.ResourceConflictException)) { // it has the statement
		return nil, err
	}
	return s, nil
}

// there is the API of the name that leads to the function; nil: there is none of the name.
func (n *newAPI) there(ctx context.Context, g gateways, arn string) (*shownAPI, error) {
	var next *string
	for first := true; first || next != nil; first = false {
		page, err := g.http.GetApis(ctx, &apigatewayv2.GetApisInput{NextToken: next})
		if err != nil {
			return nil, err
		}
		for _, one := range page.Items {
			if aws.ToString(one.Name) != n.name {
				continue
			}
			behind, err := g.http.GetIntegrations(ctx, &apigatewayv2.GetIntegrationsInput{ApiId: one.ApiId})
			if err != nil {
				return nil, err
			}
			if len(behind.Items) == 1 && aws.ToString(behind.Items[0].IntegrationUri) == arn {
				return shownHTTP(one.ApiId, one.Name, one.ApiEndpoint), nil
			}
			return nil, fmt.Errorf("there is an API %s that leads elsewhere; thaw api show %s tells where, and --name gives this one another name", n.name, aws.ToString(one.ApiId))
		}
		next = page.NextToken
	}
	return nil, nil
}

func shownHTTP(id, name, endpoint *string) *shownAPI {
	return &shownAPI{ID: aws.ToString(id), Name: aws.ToString(name), Kind: "http",
		Stages: []shownStage{{"$default", stageURL(aws.ToString(endpoint), "$default")}}}
}

func (n *newAPI) create(ctx context.Context, g gateways, arn string) (*shownAPI, error) {
	in := &apigatewayv2.CreateApiInput{Name: &n.name, ProtocolType: types.ProtocolTypeHttp, Target: &arn}
	if len(n.origins) > 0 {
		in.CorsConfiguration = &types.Cors{AllowOrigins: n.origins, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}}
	}
	if len(n.routes) > 0 {
		in.RouteKey = &n.routes[0]
	}
	made, err := g.http.CreateApi(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := n.more(ctx, g, made.ApiId); err != nil {
		_, undo := g.http.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: made.ApiId})
		return nil, errors.Join(err, undo)
	}
	return shownHTTP(made.ApiId, made.Name, made.ApiEndpoint), nil
}

// more makes the routes behind the first.
func (n *newAPI) more(ctx context.Context, g gateways, api *string) error {
	if len(n.routes) < 2 {
		return nil
	}
	all, err := g.http.GetIntegrations(ctx, &apigatewayv2.GetIntegrationsInput{ApiId: api})
	if err != nil {
		return err
	}
	for _, key := range n.routes[1:] {
		in := &apigatewayv2.CreateRouteInput{ApiId: api, RouteKey: &key, Target: aws.String("integrations/" + aws.ToString(all.Items[0].IntegrationId))}
		if _, err := g.http.CreateRoute(ctx, in); err != nil {
			return err
		}
	}
	return nil
}
