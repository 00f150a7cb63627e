package main

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/internal/wholebody"
)

// measureGateway tells what an HTTP API with 300 routes adds to a warm invoke of the function behind it.
func measureGateway(ctx context.Context, o options, s *server) ([]result, error) {
	const name = "behind"
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(`exports.handler = async () => ({ statusCode: 200, body: '{}' });`)); err != nil {
		return nil, err
	}
	at, err := s.openAPI(ctx, name)
	if err != nil {
		return nil, err
	}
	rivals := []rival{
		{name: "invoke", ask: func(ctx context.Context) ([]byte, error) { return s.prepare(ctx, name, "", []byte(smallEvent), false) }},
		{name: "API", ask: func(context.Context) ([]byte, error) { return s.post(at) }},
	}
	if err := s.compare(ctx, o, rivals); err != nil {
		return nil, err
	}
	return []result{
		{what: "Node, Invoke, p50", value: median(rivals[0].p50s), unit: "ms"},
		{what: "an HTTP API of 300 routes adds", value: rivals[1].adds(rivals[0]), unit: "ms", aim: 0.1},
	}, nil
}

// openAPI puts a function behind an HTTP API, at one of its routes.
func (s *server) openAPI(ctx context.Context, name string) (*url.URL, error) {
	c := apigatewayv2.New(apigatewayv2.Options{Region: region, BaseEndpoint: aws.String("http://" + s.host), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	f, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(name)})
	if err != nil {
		return nil, err
	}
	a, err := c.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: aws.String(name), ProtocolType: types.ProtocolTypeHttp})
	if err != nil {
		return nil, err
	}
	i, err := c.CreateIntegration(ctx, &apigatewayv2.CreateIntegrationInput{ApiId: a.ApiId, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: f.FunctionArn, PayloadFormatVersion: aws.String("2.0")})
	if err != nil {
		return nil, err
	}
	for n := range 300 {
		key := "POST /v1/" + string(rune('a'+n%26)) + "/{id}/" + string(rune('a'+n/26))
		if _, err := c.CreateRoute(ctx, &apigatewayv2.CreateRouteInput{ApiId: a.ApiId, RouteKey: &key, Target: aws.String("integrations/" + *i.IntegrationId)}); err != nil {
			return nil, err
		}
	}
	if _, err := c.CreateStage(ctx, &apigatewayv2.CreateStageInput{ApiId: a.ApiId, StageName: aws.String("$default"), AutoDeploy: aws.Bool(true)}); err != nil {
		return nil, err
	}
	_, err = s.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: aws.String(name), StatementId: aws.String("api"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("apigateway.amazonaws.com")})
	if err != nil {
		return nil, err
	}
	return url.Parse(aws.ToString(a.ApiEndpoint) + "/v1/c/7/d")
}
