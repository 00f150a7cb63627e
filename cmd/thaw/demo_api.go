package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/internal/wholebody"
)

// throughAPI puts the first function of the demonstration behind an HTTP API and asks it as a browser does. It runs when
// all else has: its URL is the last thing that is shown.
func (d *demonstration) throughAPI(ctx context.Context, key aws.CredentialsProvider, through *http.Client) error {
	first := d.steps[0]
	arn, err := d.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &first.Function})
	if err != nil {
		return plainer(err)
	}
	if through == nil {
		through = http.DefaultClient
	}
	d.apis = apigatewayv2.New(apigatewayv2.Options{BaseEndpoint: &d.endpoint, Region: region(), Credentials: key, Retryer: aws.NopRetryer{},
		HTTPClient: wholebody.Client(through)})
	made, err := d.apis.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: aws.String("demo"),
		ProtocolType: types.ProtocolTypeHttp, Target: arn.FunctionArn})
	if err != nil {
		return plainer(err)
	}
	d.api = aws.ToString(made.ApiId)
	if _, err := d.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: &first.Function,
		StatementId: aws.String("demo-api"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("apigateway.amazonaws.com")}); err != nil {
		return plainer(err)
	}
	// By path: the host's name is found everywhere by browsers, and by other programs not everywhere.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.endpoint+"/execute-api/"+d.api+"/", nil)
	if err != nil {
		return err
	}
	began := time.Now()
	resp, err := through.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	st := step{Function: first.Function, Runtime: first.Runtime, Step: "GET, through an API",
		ClientMs: milliseconds(time.Since(began)), Answer: strings.TrimSpace(string(body)), URL: aws.ToString(made.ApiEndpoint) + "/"}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", st.URL, resp.Status, st.Answer)
	}
	d.tell(st, "")
	d.steps = append(d.steps, st)
	return nil
}

// cleanAPI removes the API.
func (d *demonstration) cleanAPI(ctx context.Context) error {
	if d.api == "" {
		return nil
	}
	_, err := d.apis.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: &d.api})
	d.api = ""
	if err != nil {
		return fmt.Errorf("remove the API: %w", plainer(err))
	}
	return nil
}
