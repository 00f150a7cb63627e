package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/node/embedded"
	"thaw/samples"
	"thaw/snapshot"
)

// valueOrigin stands for Secrets Manager and for a server whose answers are good for three seconds, or for a minute.
type valueOrigin struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	asked  map[string]int
	wrong  []string // requests that the service would refuse
}

const webLife = 3 * time.Second

func newValueOrigin(t *testing.T) *valueOrigin {
	o := &valueOrigin{secret: "hush-1", asked: map[string]int{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *valueOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == http.MethodGet {
		o.asked["web"]++
		life := webLife
		if r.URL.Path == "/minute" {
			life = time.Minute
		}
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", life/time.Second))
		fmt.Fprint(w, o.asked["web"])
		return
	}
	body, _ := io.ReadAll(r.Body)
	if auth := r.Header.Get("Authorization"); r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.Contains(auth, "/secretsmanager/aws4_request") ||
		r.Header.Get("X-Amz-Security-Token") == "" || string(body) != `{"SecretId":"db"}` {
		o.wrong = append(o.wrong, fmt.Sprint(r.Header.Get("X-Amz-Target"), " ", auth, " ", string(body)))
	}
	o.asked["secret"]++
	json.NewEncoder(w).Encode(map[string]any{"Name": "db", "SecretString": o.secret, "CreatedDate": 1.5e9})
}

func (o *valueOrigin) times(what string) int { o.mu.Lock(); defer o.mu.Unlock(); return o.asked[what] }

func (o *valueOrigin) rotate(to string) { o.mu.Lock(); o.secret = to; o.mu.Unlock() }

// cachingLayer publishes the caching extension as thaw layer install does.
func (s *server) cachingLayer() string {
	s.t.Helper()
	program, err := embedded.Cache(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.layer("cache", map[string]string{"extensions/thaw-cache": string(code)})
}

const cachingFunction = `
const http = require('http')
const own = process.env.AWS_SESSION_TOKEN || process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN
const get = (path, token = own) => new Promise((done, fail) => http.get({ port: 2773, path, agent: false, headers: { 'X-Aws-Parameters-Secrets-Token': token } }, r => {
	let text = ''; r.on('data', d => text += d); r.on('end', () => done({ status: r.statusCode, how: r.headers['x-thaw-cache'], age: Number(r.headers.age), text }))
}).on('error', fail))
const secret = '/secretsmanager/get?secretId=db'
if (own === process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN) awslambda.snapStart.beforeCheckpoint(async () => { console.log('before the snapshot', (await get(secret)).how) })
exports.handler = async (e) => {
	const got = await get(e.path || secret, e.token)
	console.log('how', got.how)
	return got
}`

// The caching extension in a real environment: only its token opens it, what a warm function uses is fetched ahead of
// its end, and a copy has what the snapshot had, asks for it anew, and the snapshot knows when the first of it ends.
func TestCachingExtension(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	origin := newValueOrigin(t)
	_, port, _ := net.SplitHostPort(origin.Listener.Addr().String())
	s := openServerWith(t, "gvisor", t.TempDir(), func(c *Config) { c.HostAccess = port })
	t.Cleanup(func() {
		if err := s.node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	at := "http://host.thaw.internal:" + port
	f := s.js(cachingFunction, snapStart, timeout(10), withLayers(s.cachingLayer()), vars(map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": at, "SECRETS_MANAGER_TTL": "120"}))
	type answer struct {
		Status, Age int
		How, Text   string
	}
	read := func(text string) (a answer) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return a
	}
	ask := func(event string) answer { t.Helper(); return read(f.invoke(event).ok(t)) }

	for i, how := range []string{"miss", "hit"} {
		if a := ask(`{}`); a.Status != 200 || a.How != how || !strings.Contains(a.Text, `"SecretString":"hush-1"`) || !strings.Contains(a.Text, `"CreatedDate":"2017-07-14T02:40:00Z"`) {
			t.Fatalf("invocation %d: %+v", i, a)
		}
	}
	for _, token := range []string{`""`, `"test"`} {
		if a := ask(`{"token":` + token + `}`); a.Status != 401 || strings.Contains(a.Text, "hush") {
			t.Errorf("token %s: %+v", token, a)
		}
	}

	web := `{"path":"/thaw/http?url=` + url.QueryEscape(at+"/rate") + `"}`
	if a := ask(web); a.How != "miss" || a.Text != "1" {
		t.Fatalf("the first: %+v", a)
	}
	// Three times in a row: a busy machine may come to the second of an answer's end late, once.
	ahead, fetched := 0, origin.times("web")
	for end := time.Now().Add(time.Minute); ahead < 3; time.Sleep(20 * time.Millisecond) {
		a, now := ask(web), origin.times("web")
		if a.Age >= int(webLife/time.Second) {
			t.Fatalf("a warm function had an old answer: %+v", a)
		}
		if ahead += now - fetched; a.How != "hit" {
			ahead = 0
		}
		if fetched = now; time.Now().After(end) {
			t.Fatalf("nothing is fetched ahead: %+v", a)
		}
	}

	began := time.Now()
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if d := f.snap("1").StatedExpiry.Sub(began); d < 110*time.Second || d > 120*time.Second+time.Since(began) {
		t.Errorf("the snapshot is said to be good for %v, and the secret for 2m", d)
	}
	origin.rotate("hush-2")
	f.once("the copy has the new secret", func() bool {
		a := read(f.invokeVersion("1", `{}`).ok(t))
		if a.How != "hit" {
			t.Errorf("a copy waited for the origin: %+v", a)
		}
		return strings.Contains(a.Text, "hush-2")
	})
	if all := strings.Join(f.logs("before the snapshot miss", "how hit"), ""); strings.Contains(all, "hush") || strings.Contains(all, "[thaw-cache]") {
		t.Errorf("the log has what it must not have:\n%s", all)
	}
	if len(origin.wrong) > 0 {
		t.Errorf("the service was asked wrongly: %q", origin.wrong)
	}
	t.Run("load", func(t *testing.T) {
		cachingUnderLoad(t, &server{t: t, node: s.node, client: s.client, kind: s.kind}, at+"/minute", origin)
	})
}

// cachingUnderLoad: a sample with SnapStart answers while its snapshot is made anew: nobody waits for the origin, and
// nobody has an answer that is too old.
func cachingUnderLoad(t *testing.T, s *server, address string, origin *valueOrigin) {
	code, err := samples.Zip("nodejs-caching")
	if err != nil {
		t.Fatal(err)
	}
	f := s.deployZip(nodeRuntime(t), code, snapStart, timeout(10), withLayers(s.cachingLayer()), vars(map[string]string{"ORIGIN": address}), func(in *lambda.CreateFunctionInput) {
		in.Tags = map[string]string{snapshot.TagRefresh: "5s max=2m"}
	})
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	first, before := f.snap("1"), origin.times("web")
	stop := make(chan struct{})
	var load sync.WaitGroup
	var answers atomic.Int64
	for range 2 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(30 * time.Millisecond): // a load, not all that the machine has
				}
				var a struct {
					Status, Age int
					How         string
				}
				got := f.invokeVersion("1", `{}`)
				if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.err != nil || got.functionError != "" {
					t.Errorf("%v %v %s", err, got.err, got.body)
					return
				}
				if a.Status != 200 || a.How != "hit" || a.Age >= 60 {
					t.Errorf("somebody waited, or had an old answer: %s", got.body)
				}
				answers.Add(1)
			}
		})
	}
	f.snapOnce("1", "refreshed", func(n admin.Snapshot) bool { return n.Generation > first.Generation && n.State == "current" })
	served := answers.Load()
	f.once("nobody is answered by the new one", func() bool { return answers.Load() > served+50 || t.Failed() })
	close(stop)
	load.Wait()
	t.Logf("%d answers, the origin was asked %d times", answers.Load(), origin.times("web")-before)
}
