package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"
)

// shownAPI is an API of API Gateway as -o json prints it.
type shownAPI struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Kind   string       `json:"kind"` // http, rest, websocket
	Stages []shownStage `json:"stages"`
	Routes []shownRoute `json:"routes,omitempty"` // of show alone
}

type shownStage struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

type shownRoute struct {
	Key    string `json:"key"`
	Auth   string `json:"auth,omitempty"`
	Target string `json:"target"`
}

func apiCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "api",
		Short: "APIs of API Gateway in front of functions",
		Long: `An API gives functions a host of their own, with routes, stages and authorizers. thaw api add makes the simplest one; AWS's
clients, Terraform, SAM and Chalice make all others (services apigatewayv2 and apigateway, at the server's endpoint).`,
		Example: "thaw api ls",
	}, apiLsCommand(a), apiShowCommand(a), apiAddCommand(a), apiRmCommand(a))
}

// gateways are clients of API Gateway, where and as who the other one calls.
type gateways struct {
	http *apigatewayv2.Client
	rest *apigateway.Client
}

func gatewaysOf(client *lambda.Client) gateways {
	o := client.Options()
	return gateways{
		apigatewayv2.New(apigatewayv2.Options{BaseEndpoint: o.BaseEndpoint, Region: o.Region, Credentials: o.Credentials,
			HTTPClient: o.HTTPClient, Retryer: o.Retryer}),
		apigateway.New(apigateway.Options{BaseEndpoint: o.BaseEndpoint, Region: o.Region, Credentials: o.Credentials,
			HTTPClient: o.HTTPClient, Retryer: o.Retryer}),
	}
}

// stageURL is where a stage is: below the API's host, and $default at its root.
func stageURL(endpoint, stage string) string {
	if stage == "$default" {
		return endpoint + "/"
	}
	return endpoint + "/" + stage + "/"
}

// apis are those of the region, the newest last.
func (c *call) apis(g gateways) (list []*shownAPI, err error) {
	var next *string
	for first := true; first || next != nil; first = false {
		page, err := g.http.GetApis(c, &apigatewayv2.GetApisInput{NextToken: next})
		if err != nil {
			return nil, err
		}
		for _, one := range page.Items {
			s := &shownAPI{ID: aws.ToString(one.ApiId), Name: aws.ToString(one.Name),
				Kind: strings.ToLower(string(one.ProtocolType)), Stages: []shownStage{}}
			stages, err := g.http.GetStages(c, &apigatewayv2.GetStagesInput{ApiId: one.ApiId})
			if err != nil {
				return nil, err
			}
			for _, st := range stages.Items {
				s.Stages = append(s.Stages, shownStage{aws.ToString(st.StageName), stageURL(aws.ToString(one.ApiEndpoint), aws.ToString(st.StageName))})
			}
			list = append(list, s)
		}
		next = page.NextToken
	}
	for p := apigateway.NewGetRestApisPaginator(g.rest, &apigateway.GetRestApisInput{}); p.HasMorePages(); {
		page, err := p.NextPage(c)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Items {
			s := &shownAPI{ID: aws.ToString(one.Id), Name: aws.ToString(one.Name), Kind: "rest", Stages: []shownStage{}}
			stages, err := g.rest.GetStages(c, &apigateway.GetStagesInput{RestApiId: one.Id})
			if err != nil {
				return nil, err
			}
			for _, st := range stages.Item {
				s.Stages = append(s.Stages, shownStage{aws.ToString(st.StageName), c.pathURL(s.ID, aws.ToString(st.StageName))})
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// pathURL is where a stage is in the path form, which is at the server's own host.
func (c *call) pathURL(api, stage string) string {
	return stageURL(strings.TrimSuffix(aws.ToString(c.client.Options().BaseEndpoint), "/")+"/execute-api/"+api, stage)
}

// findAPI is the one of an ID, or of a name that only one has.
func (c *call) findAPI(g gateways, name string) (*shownAPI, error) {
	all, err := c.apis(g)
	if err != nil {
		return nil, err
	}
	var found []*shownAPI
	for _, s := range all {
		if s.ID == name {
			return s, nil
		}
		if s.Name == name {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no API %s in this region; thaw api ls lists them", name)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d APIs are named %s: give the ID of one, as thaw api ls has it", len(found), name)
}

func apiLsCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the APIs of the region, with the URLs of their stages",
		Args:    args(cobra.NoArgs),
		Example: "thaw api ls -o json",
	}, nil, func(c *call) error {
		list, err := c.apis(gatewaysOf(c.client))
		if err != nil {
			return err
		}
		if list == nil {
			list = []*shownAPI{}
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"API", "NAME", "KIND", "STAGE", "URL"}}
			for _, s := range list {
				if len(s.Stages) == 0 {
					rows = append(rows, []string{s.ID, s.Name, s.Kind, "-", "-"})
				}
				for _, st := range s.Stages {
					rows = append(rows, []string{s.ID, s.Name, s.Kind, st.Name, st.URL})
				}
			}
			table(w, rows)
		})
	})
}

// ofAPI is a command about the API that its one argument names.
func ofAPI(a *app, cmd *cobra.Command, do func(*call, gateways, *shownAPI) error) *cobra.Command {
	cmd.Args = args(cobra.ExactArgs(1))
	return calling(a, cmd, nil, func(c *call) error {
		g := gatewaysOf(c.client)
		s, err := c.findAPI(g, c.names[0])
		if err != nil {
			return err
		}
		return do(c, g, s)
	})
}

func apiShowCommand(a *app) *cobra.Command {
	return ofAPI(a, &cobra.Command{
		Use:     "show API",
		Short:   "Show an API: its stages, its routes, and what they lead to",
		Example: "thaw api show hello",
	}, func(c *call, g gateways, s *shownAPI) (err error) {
		if s.Kind == "rest" {
			err = c.methods(g, s)
		} else {
			err = c.routes(g, s)
		}
		if err != nil {
			return err
		}
		slices.SortFunc(s.Routes, func(a, b shownRoute) int { return strings.Compare(a.Key, b.Key) })
		return a.print(s, func(w io.Writer) {
			pairs := []string{"API", s.ID, "name", s.Name, "kind", s.Kind}
			for _, st := range s.Stages {
				pairs = append(pairs, "stage "+st.Name, st.URL)
			}
			fields(w, pairs...)
			rows := [][]string{{"ROUTE", "AUTH", "TO"}}
			for _, r := range s.Routes {
				rows = append(rows, []string{r.Key, r.Auth, r.Target})
			}
			fmt.Fprintln(w)
			table(w, rows)
		})
	})
}

// routes are those of an HTTP or WebSocket API.
func (c *call) routes(g gateways, s *shownAPI) error {
	targets := map[string]string{}
	var next *string
	for first := true; first || next != nil; first = false {
		page, err := g.http.GetIntegrations(c, &apigatewayv2.GetIntegrationsInput{ApiId: &s.ID, NextToken: next})
		if err != nil {
			return err
		}
		for _, i := range page.Items {
			targets["integrations/"+aws.ToString(i.IntegrationId)] = behind(aws.ToString(i.IntegrationUri), string(i.IntegrationType))
		}
		next = page.NextToken
	}
	for first := true; first || next != nil; first = false {
		page, err := g.http.GetRoutes(c, &apigatewayv2.GetRoutesInput{ApiId: &s.ID, NextToken: next})
		if err != nil {
			return err
		}
		for _, r := range page.Items {
			s.Routes = append(s.Routes, shownRoute{aws.ToString(r.RouteKey),
				authOf(string(r.AuthorizationType), aws.ToBool(r.ApiKeyRequired)), targets[aws.ToString(r.Target)]})
		}
		next = page.NextToken
	}
	return nil
}

// methods are those of a REST API.
func (c *call) methods(g gateways, s *shownAPI) error {
	in := &apigateway.GetResourcesInput{RestApiId: &s.ID, Embed: []string{"methods"}}
	for p := apigateway.NewGetResourcesPaginator(g.rest, in); p.HasMorePages(); {
		page, err := p.NextPage(c)
		if err != nil {
			return err
		}
		for _, r := range page.Items {
			for method, m := range r.ResourceMethods {
				target := "-"
				if i := m.MethodIntegration; i != nil {
					target = behind(aws.ToString(i.Uri), string(i.Type))
				}
				s.Routes = append(s.Routes, shownRoute{method + " " + aws.ToString(r.Path),
					authOf(aws.ToString(m.AuthorizationType), aws.ToBool(m.ApiKeyRequired)), target})
			}
		}
	}
	return nil
}

func authOf(kind string, key bool) string {
	if kind = strings.ToLower(kind); key {
		kind = strings.TrimPrefix(kind+", API key", "none, ")
	}
	return kind
}

// behind is what an integration leads to: a function's name, a URL, or its type.
func behind(uri, kind string) string {
	arn := uri
	if _, path, is := strings.Cut(uri, "/functions/"); is {
		arn, _, _ = strings.Cut(path, "/")
	}
	if strings.HasPrefix(arn, "arn:") && strings.Contains(arn, ":function:") {
		name, qualifier := qualifiedName(arn)
		name, _ = nameOf(name)
		return strings.TrimSuffix(name+":"+qualifier, ":")
	}
	if uri == "" {
		return strings.ToLower(kind)
	}
	return uri
}

func apiRmCommand(a *app) *cobra.Command {
	return ofAPI(a, &cobra.Command{
		Use:     "rm API",
		Aliases: []string{"delete"},
		Short:   "Delete an API with its stages and routes",
		Example: "thaw api rm hello",
	}, func(c *call, g gateways, s *shownAPI) (err error) {
		if s.Kind == "rest" {
			_, err = g.rest.DeleteRestApi(c, &apigateway.DeleteRestApiInput{RestApiId: &s.ID})
		} else {
			_, err = g.http.DeleteApi(c, &apigatewayv2.DeleteApiInput{ApiId: &s.ID})
		}
		if err != nil && !errors.As(err, new(*types.NotFoundException)) { // somebody else has deleted it
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintln(w, "deleted", s.ID) })
	})
}
