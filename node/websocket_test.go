package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/gorilla/websocket"

	"thaw/access"
	"thaw/internal/wholebody"
)

// chat answers on every route. push sends to the connection over the management API, at the endpoint that its SDK would
// take, signed as its role.
const chat = `
const http = require('http'), crypto = require('crypto')
const sha = b => crypto.createHash('sha256').update(b).digest('hex'), mac = (k, s) => crypto.createHmac('sha256', k).update(s).digest()
const call = (method, id, body) => new Promise((resolve, reject) => {
	const env = process.env, at = new URL(env.AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI), path = '/@connections/' + encodeURIComponent(id)
	const now = new Date().toISOString().replace(/[-:]|\.\d+/g, ''), scope = now.slice(0, 8) + '/' + env.AWS_REGION + '/execute-api/aws4_request'
	const heads = {host: at.host, 'x-amz-date': now, 'x-amz-security-token': env.AWS_SESSION_TOKEN}, names = Object.keys(heads).sort().join(';')
	const asked = [method, path.split('/').map(encodeURIComponent).join('/'), '', ...Object.keys(heads).sort().map(k => k + ':' + heads[k]), '', names, sha(body)].join('\n')
	const key = scope.split('/').reduce(mac, 'AWS4' + env.AWS_SECRET_ACCESS_KEY)
	heads.authorization = 'AWS4-HMAC-SHA256 Credential=' + env.AWS_ACCESS_KEY_ID + '/' + scope + ', SignedHeaders=' + names + ', Signature=' +
		mac(key, ['AWS4-HMAC-SHA256', now, scope, sha(asked)].join('\n')).toString('hex')
	const r = http.request(at.origin + path, {method, headers: heads}, res => {
		let text = ''
		res.on('data', d => text += d).on('end', () => resolve(res.statusCode + ' ' + (res.headers['x-amzn-errortype'] || '') + ' ' + text))
	}).on('error', reject)
	r.end(body)
})
exports.handler = async e => {
	const rc = e.requestContext
	console.log(rc.eventType, rc.connectionId, rc.disconnectStatusCode, JSON.stringify(rc.authorizer))
	switch (rc.routeKey) {
	case '$connect': return {statusCode: (e.queryStringParameters || {}).no ? 403 : 200}
	case 'push': console.log('pushed', await call('POST', rc.connectionId, 'pushed')); return {statusCode: 200}
	case 'other': return {statusCode: 200, body: await call('GET', rc.connectionId, '')}
	case 'gone': return {statusCode: 200, body: await call('POST', 'none=', '')}
	}
	return {statusCode: 200, body: 'heard ' + (e.body || '')}
}`

// socketJudge is an authorizer: it lets those in who bring a token.
const socketJudge = `
exports.handler = async e => ({principalId: 'ann', context: {room: 'blue'}, policyDocument: {Version: '2012-10-17', Statement: [
	{Effect: e.queryStringParameters.token == 'secret' ? 'Allow' : 'Deny', Action: 'execute-api:Invoke', Resource: e.methodArn}]}})`

// sockets is a WebSocket API of a test.
type sockets struct {
	*deployed // that answers
	id        string
}

// newSockets makes an API by its operations, in the order that the SDKs' users take.
func newSockets(t *testing.T, f *deployed, authorizer string) *sockets {
	t.Helper()
	ctx := t.Context()
	api := apigatewayv2.New(apigatewayv2.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + f.node.Addr()),
		HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	uri := func(name string) *string {
		return aws.String("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:000000000000:function:" + name + "/invocations")
	}
	a, err := api.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: aws.String("chat"), ProtocolType: types.ProtocolTypeWebsocket, RouteSelectionExpression: aws.String("$request.body.action")})
	must(err)
	i, err := api.CreateIntegration(ctx, &apigatewayv2.CreateIntegrationInput{ApiId: a.ApiId, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: uri(f.name)})
	must(err)
	z, err := api.CreateAuthorizer(ctx, &apigatewayv2.CreateAuthorizerInput{ApiId: a.ApiId, Name: aws.String("z"), AuthorizerType: types.AuthorizerTypeRequest,
		AuthorizerUri: uri(authorizer), IdentitySource: []string{"route.request.querystring.token"}})
	must(err)
	for _, key := range []string{"$connect", "$disconnect", "$default", "push", "other", "gone"} {
		in := &apigatewayv2.CreateRouteInput{ApiId: a.ApiId, RouteKey: &key, Target: aws.String("integrations/" + *i.IntegrationId)}
		if key == "$connect" {
			in.AuthorizationType, in.AuthorizerId = types.AuthorizationTypeCustom, z.AuthorizerId
		}
		if key == "$default" || key == "gone" || key == "other" {
			in.RouteResponseSelectionExpression = aws.String("$default")
		}
		r, err := api.CreateRoute(ctx, in)
		must(err)
		if in.RouteResponseSelectionExpression != nil {
			_, err = api.CreateRouteResponse(ctx, &apigatewayv2.CreateRouteResponseInput{ApiId: a.ApiId, RouteId: r.RouteId, RouteResponseKey: aws.String("$default")})
			must(err)
		}
	}
	d, err := api.CreateDeployment(ctx, &apigatewayv2.CreateDeploymentInput{ApiId: a.ApiId})
	must(err)
	_, err = api.CreateStage(ctx, &apigatewayv2.CreateStageInput{ApiId: a.ApiId, StageName: aws.String("prod"), DeploymentId: d.DeploymentId})
	must(err)
	return &sockets{f, *a.ApiId}
}

// dial connects in the path form; a refusal is its status.
func (w *sockets) dial(query string) (*websocket.Conn, int) {
	w.t.Helper()
	return w.dialHost(w.node.Addr(), "/execute-api/"+w.id+"/prod"+query)
}

func (w *sockets) dialHost(host, path string) (*websocket.Conn, int) {
	w.t.Helper()
	header := http.Header{}
	if host != w.node.Addr() {
		header.Set("Host", host)
	}
	c, resp, err := websocket.DefaultDialer.Dial("ws://"+w.node.Addr()+path, header)
	if err != nil {
		if resp == nil {
			w.t.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // never fails
	return c, resp.StatusCode
}

func said(t *testing.T, c *websocket.Conn, send string) string {
	t.Helper()
	if send != "" {
		if err := c.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
			t.Fatal(err)
		}
	}
	_, b, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// S-107: a WebSocket API that was made by its operations: functions are told of connections and messages, answer them,
// send over the management API as their role, and are told of the end, also of the server's. boto3 and a browser are
// clients.
func TestWebSocketAPI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePort(t)
	s := openServerWith(t, "process", dir, func(c *Config) { c.FunctionAPI = port })
	closed := false
	defer func() {
		if !closed {
			s.node.Close(context.Background()) //nolint:errcheck // a test that failed
		}
	}()
	if _, err := s.node.access.PutRole(access.Role{Name: "chat", Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",
		"Action":"execute-api:ManageConnections","Resource":"arn:aws:execute-api:eu-west-1:000000000000:*/prod/POST/@connections/*"}}`)}); err != nil {
		t.Fatal(err)
	}
	f := s.js(chat, func(in *lambda.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::000000000000:role/chat") })
	w := newSockets(t, f, s.js(socketJudge).name)

	for query, want := range map[string]int{"": 401, "?token=wrong": 403, "?token=secret&no=1": 403, "?token=secret": 101} {
		if _, got := w.dial(query); got != want {
			t.Errorf("%q: %d, want %d", query, got, want)
		}
	}
	host := w.id + ".execute-api.eu-west-1.localhost"
	if _, got := w.dialHost(host, "/prod?token=secret"); got != 101 {
		t.Errorf("by host name: %d", got)
	}
	c, _ := w.dial("?token=secret")
	if got := said(t, c, `{"action":"else"}`); got != `heard {"action":"else"}` {
		t.Errorf("answered %s", got)
	}
	if got := said(t, c, `{"action":"push"}`); got != "pushed" {
		t.Errorf("pushed %s; %s", got, strings.Join(f.logs(), ""))
	}
	if got := said(t, c, `{"action":"gone"}`); !strings.HasPrefix(got, "410 GoneException") {
		t.Errorf("a connection that is not there: %s", got)
	}
	if got := said(t, c, `{"action":"other"}`); !strings.HasPrefix(got, "403 ForbiddenException") || !strings.Contains(got, "ManageConnections") {
		t.Errorf("what its role may not: %s", got)
	}
	f.logs(`"principalId":"ann"`, `"room":"blue"`)

	t.Run("boto3", func(t *testing.T) { w.boto3(t) })
	t.Run("browser", func(t *testing.T) { w.browser(t) })

	// A server that stops tells clients and functions; the next one has the API, and takes the clients again.
	done := make(chan error)
	go func() { done <- s.node.Close(context.Background()) }()
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the server's end: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed = true
	again := openServerWith(t, "process", dir, func(*Config) {})
	defer again.node.Close(context.Background())
	(&deployed{again, f.name}).logs(" 1001 ")
	if _, got := (&sockets{&deployed{again, f.name}, w.id}).dial("?token=secret"); got != 101 {
		t.Errorf("after a restart: %d", got)
	}
}

// boto3 sends, describes and closes.
func (w *sockets) boto3(t *testing.T) {
	p := python(t, append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION=eu-west-1"), "python3")
	c, _ := w.dial("?token=secret")
	defer c.Close()
	var id string // of the connection that was opened last
	for _, line := range w.logs("CONNECT ") {
		if _, rest, ok := strings.Cut(line, "\tCONNECT "); ok {
			id, _, _ = strings.Cut(rest, " ")
		}
	}
	program := filepath.Join(p.dir, "p.py")
	if err := os.WriteFile(program, []byte(`
import boto3, sys, json
from botocore.exceptions import ClientError
m = boto3.client('apigatewaymanagementapi', endpoint_url=sys.argv[1])
m.post_to_connection(ConnectionId=sys.argv[2], Data=b'from boto3')
got = m.get_connection(ConnectionId=sys.argv[2])
m.delete_connection(ConnectionId=sys.argv[2])
out = {'ip': got['Identity']['SourceIp'], 'at': got['ConnectedAt'].year > 2000 and got['LastActiveAt'] >= got['ConnectedAt']}
try: m.post_to_connection(ConnectionId=sys.argv[2], Data=b'late')
except m.exceptions.GoneException: out['gone'] = True
try: m.post_to_connection(ConnectionId=sys.argv[2], Data=b'x' * (128 * 1024 + 1))
except m.exceptions.PayloadTooLargeException: out['large'] = True
print(json.dumps(out))
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := p.do(program, "http://"+w.node.Addr()+"/execute-api/"+w.id+"/prod", id)
	var got struct {
		IP              string
		At, Gone, Large bool
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.IP != "127.0.0.1" || !got.At || !got.Gone || !got.Large {
		t.Errorf("%v %s", err, out)
	}
	if got := said(t, c, ""); got != "from boto3" {
		t.Errorf("received %s", got)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("deleted: %v", err)
	}
}

// socketPage connects from a page of another origin, and tells that page's server what it was answered.
const socketPage = `<!doctype html><script>
const s = new WebSocket("WS")
s.onopen = () => s.send('{"action":"hi"}')
s.onmessage = m => fetch("/told", {method: "POST", body: m.data + " " + s.readyState}).then(() => s.close(4001, "bye"))
s.onerror = () => fetch("/told", {method: "POST", body: "error"})
</script>`

// browser: Chromium's own WebSocket talks to the function.
func (w *sockets) browser(t *testing.T) {
	told := make(chan string, 10)
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, _ := io.ReadAll(r.Body) //nolint:errcheck // seen below
			told <- string(b)
			return
		}
		fmt.Fprint(rw, strings.ReplaceAll(socketPage, "WS", "ws://"+w.node.Addr()+"/execute-api/"+w.id+"/prod?token=secret"))
	}))
	defer page.Close()
	browser(t, page.URL, "")
	select {
	case got := <-told:
		if got != `heard {"action":"hi"} 1` {
			t.Errorf("the page was told %q", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("the page says nothing")
	}
}
