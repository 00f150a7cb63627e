package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// keepsTenants says for whom it runs, and whom it finds in memory and in /tmp.
var keepsTenants = map[string]string{
	"nodejs": `const fs = require('fs'); let seen = []
const dir = process.env.TMPDIR || '/tmp'
exports.handler = async (e, c) => {
	seen.push(c.tenantId); fs.appendFileSync(dir + '/seen', c.tenantId + '\n'); console.log('ran for', c.tenantId)
	await new Promise(r => setTimeout(r, e.wait || 0))
	return {tenant: c.tenantId, memory: seen, disk: fs.readFileSync(dir + '/seen', 'utf8').trim().split('\n')}
}`,
	"python": `import os, tempfile, time
seen = []
def handler(e, c):
    path = os.path.join(tempfile.gettempdir(), 'seen')
    seen.append(c.tenant_id)
    print('ran for', c.tenant_id)
    with open(path, 'a') as f:
        f.write(c.tenant_id + '\n')
    time.sleep(e.get('wait', 0) / 1000)
    return {'tenant': c.tenant_id, 'memory': seen, 'disk': open(path).read().split()}
`}

func perTenant(in *lambda.CreateFunctionInput) {
	in.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
}

// E-050: what one tenant leaves behind in memory and in /tmp, no other one finds, also when they come at once, and by
// way of the queue; a tenant's own environment is used again. The runtimes name the tenant, and so do the metrics.
func TestTenants(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		for runtime, f := range map[string]*deployed{
			"nodejs": s.deploy(nodeRuntime(t), map[string]string{"index.js": keepsTenants["nodejs"]}, perTenant),
			"python": s.deploy(ready(t, s, "python3.12", "python3.11", "python3.13"), map[string]string{"index.py": keepsTenants["python"]}, perTenant),
		} {
			var all sync.WaitGroup
			invoke := func(tenant, event string) {
				out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(event), TenantId: &tenant})
				if err != nil || out.FunctionError != nil {
					t.Errorf("%s for %s: %+v, %v", runtime, tenant, out, err)
					return
				}
				var a struct {
					Tenant       string
					Memory, Disk []string
				}
				if err := json.Unmarshal(out.Payload, &a); err != nil || a.Tenant != tenant || len(a.Memory) == 0 || len(a.Disk) == 0 {
					t.Errorf("%s for %s: %s", runtime, tenant, out.Payload)
				}
				for _, found := range append(a.Memory, a.Disk...) {
					if found != tenant {
						t.Errorf("%s for %s found %s", runtime, tenant, found)
					}
				}
			}
			for i := range 6 {
				all.Go(func() { invoke(fmt.Sprint("tenant-", i%2), `{"wait":100}`) })
			}
			all.Wait()
			invoke("tenant-0", `{}`)
			for _, tenant := range []string{"tenant-1", "tenant-2"} {
				out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, TenantId: &tenant, InvocationType: types.InvocationTypeEvent})
				if err != nil || out.StatusCode != 202 {
					t.Fatalf("%s, an event for %s: %+v, %v", runtime, tenant, out, err)
				}
			}
			f.logs("ran for tenant-2")
			invoke("tenant-2", `{}`)
			invoke("tenant-1", `{}`)
			if lines := strings.Join(f.logs(), "\n"); strings.Count(lines, "INIT_START") > strings.Count(lines, "ran for") {
				t.Errorf("%s: nothing was used again:\n%s", runtime, lines)
			}
			for tenant, want := range map[string]float64{"tenant-0": 4, "tenant-1": 5, "tenant-2": 2} {
				name := fmt.Sprintf("thaw_lambda_tenant_invocations_total{function=%q,region=\"eu-west-1\",tenant=%q}", f.name, tenant)
				until(t, time.Minute, fmt.Sprintf("%s is %v", name, want), func() bool { return f.samples()[name] == want })
			}
		}
	})
}
