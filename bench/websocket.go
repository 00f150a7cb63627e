package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/gorilla/websocket"

	"thaw/internal/wholebody"
)

// openSockets is how many connections there are. More than half of the descriptors that a process usually may have is not
// needed: clients are this program, the server another.
const openSockets = 10_000

// measureSockets opens ten thousand connections of a WebSocket API whose function runs for each message, and tells what
// the whole server holds with them, and how long a message there and back takes beside them.
func measureSockets(ctx context.Context, _ options, s *server) ([]result, error) {
	const name = "sockets"
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(`exports.handler = async e => ({ statusCode: 200, body: e.body || '' });`)); err != nil {
		return nil, err
	}
	at, err := s.openSocketAPI(ctx, name)
	if err != nil {
		return nil, err
	}
	conns, took, err := dialSockets(ctx, at)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var times []float64
	for i := range 500 {
		c, began := conns[i*len(conns)/500], time.Now()
		if err := c.WriteMessage(websocket.TextMessage, []byte(smallEvent)); err != nil {
			return nil, err
		}
		if _, _, err := c.ReadMessage(); err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	select { // the server's heap comes to rest
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(3 * time.Second):
	}
	pid := s.cmd.Process.Pid
	return []result{
		{what: fmt.Sprintf("server with %d connections", len(conns)), value: memoryMiB([]int{pid}), unit: "MiB", aim: 400},
		{what: "handshakes", value: float64(len(conns)) / took.Seconds(), unit: "1/s"},
		{what: "a message to a function and its answer, p50", value: median(times), unit: "ms"},
	}, nil
}

// dialSockets opens the connections, sixteen at a time.
func dialSockets(ctx context.Context, at string) ([]*websocket.Conn, time.Duration, error) {
	conns, began := make([]*websocket.Conn, openSockets), time.Now()
	errs := make([]error, 16)
	var work sync.WaitGroup
	for w := range errs {
		work.Go(func() {
			d := &websocket.Dialer{ReadBufferSize: 512, WriteBufferSize: 512, HandshakeTimeout: time.Minute}
			for i := w; i < openSockets && errs[w] == nil; i += len(errs) {
				conns[i], _, errs[w] = d.DialContext(ctx, at, nil)
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	var open []*websocket.Conn
	for _, c := range conns {
		if c != nil {
			open = append(open, c)
		}
	}
	return open, took, errors.Join(errs...)
}

// openSocketAPI puts a function behind the routes $connect and $default of a WebSocket API.
func (s *server) openSocketAPI(ctx context.Context, name string) (string, error) {
	c := apigatewayv2.New(apigatewayv2.Options{Region: region, BaseEndpoint: aws.String("http://" + s.host), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	f, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(name)})
	if err != nil {
		return "", err
	}
	a, err := c.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: aws.String(name), ProtocolType: types.ProtocolTypeWebsocket, RouteSelectionExpression: aws.String("$request.body.action")})
	if err != nil {
		return "", err
	}
	uri := "arn:aws:apigateway:" + region + ":lambda:path/2015-03-31/functions/" + *f.FunctionArn + "/invocations"
	i, err := c.CreateIntegration(ctx, &apigatewayv2.CreateIntegrationInput{ApiId: a.ApiId, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: &uri})
	if err != nil {
		return "", err
	}
	for _, key := range []string{"$connect", "$default"} {
		r, err := c.CreateRoute(ctx, &apigatewayv2.CreateRouteInput{ApiId: a.ApiId, RouteKey: &key, Target: aws.String("integrations/" + *i.IntegrationId),
			RouteResponseSelectionExpression: aws.String("$default")})
		if err != nil {
			return "", err
		}
		if _, err := c.CreateRouteResponse(ctx, &apigatewayv2.CreateRouteResponseInput{ApiId: a.ApiId, RouteId: r.RouteId, RouteResponseKey: aws.String("$default")}); err != nil {
			return "", err
		}
	}
	d, err := c.CreateDeployment(ctx, &apigatewayv2.CreateDeploymentInput{ApiId: a.ApiId})
	if err != nil {
		return "", err
	}
	if _, err := c.CreateStage(ctx, &apigatewayv2.CreateStageInput{ApiId: a.ApiId, StageName: aws.String("prod"), DeploymentId: d.DeploymentId}); err != nil {
		return "", err
	}
	_, err = s.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: aws.String(name), StatementId: aws.String("api"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("apigateway.amazonaws.com")})
	return "ws://" + s.host + "/execute-api/" + *a.ApiId + "/prod", err
}
