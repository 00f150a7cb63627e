package imports

// row says which packages of this tree a package may import, and what it is: the reason why it may import no other.
type row struct{ may, what string }

// everything is the row of a package that may import all others.
const everything = "*"

// allowed has a row for each package. Imports run one way: cmd, node, adapters, nouns. What only tests import is not
// judged. A new package gets a row, an import more gets into its row; the failure says what to write.
var allowed = map[string]row{
	// Nouns: what the service is about. They run in a test without HTTP, a broker or gVisor.
	"function":       {"", "what everything else is about: pure, so it imports nothing"},
	"layer":          {"", "layers and their versions: it speaks to the store that it declares"},
	"sandbox":        {"", "the contract of the backends, which knows none of them"},
	"trace":          {"function", "which trace an invocation belongs to, and what is recorded of it: pure, whoever asks and wherever it is sent"},
	"execenv":        {"function guest/platform guest/wire sandbox trace", "one environment, on any sandbox, whoever hands it out and however its runtime was found"},
	"pool":           {"execenv function", "which environment takes which invocation: without HTTP, a broker or a certain sandbox"},
	"invoke":         {"function pool", "what everybody calls who has events for functions, with HTTP or without"},
	"controlplane":   {"blob codepackage function internal/plainjson invoke layer pool runtimes snapshot", "creating, changing, settling and deleting functions, for whoever asks, with HTTP or without: it speaks to the store that function declares, and to the pool, not to environments"},
	"async":          {"function internal/plainjson invoke pool", "events that nobody waits for, until they are done with: without HTTP, a broker or another service"},
	"snapshot":       {"function internal/faultfs", "what is stored of snapshots, and when: it makes none, and runs nothing"},
	"snapstart":      {"admin execenv function internal/faultfs sandbox snapshot", "snapshots of versions are made, verified and lent: whoever hands out environments is told by functions that node gives it"},
	"codepackage":    {"function internal/treesum", "unpacked code, which anybody may mount"},
	"runtimes":       {"internal/filelock internal/treesum runtimes/java sandbox", "how a runtime is found, fetched and started: decided before an environment is made"},
	"runtimes/java":  {"", "the client of Java, as files"},
	"logstore":       {"logpattern", "the lines of functions on disk, whoever writes or asks"},
	"trigger":        {"internal/plainjson", "requests as events and answers as responses: pure, so it imports mechanisms alone"},
	"trigger/sample": {"internal/plainjson", "events as files: it knows no source"},
	"iam":            {"", "policies and their evaluation: pure, so it imports nothing"},
	"access":         {"function iam", "who may ask, for whoever is asked: without HTTP"},
	"signing":        {"", "code signing configurations: records"},
	"logpattern":     {"", "filter patterns: pure, the command line has them too"},
	"eventpattern":   {"", "patterns that events pass or not: pure, for all who filter events"},
	"schemaregistry": {"internal/finite", "records that were written with a schema, whoever brings them"},
	"eventsource":    {"eventpattern function internal/plainjson trigger", "what a mapping is, what a source has to do, and what becomes of records: pure"},
	"insights":       {"logpattern", "queries of logs: pure"},

	// Event sources: each knows its protocol and the contract, and nothing of filters, batches and functions.
	"eventsource/poller":   {"eventsource function invoke pool", "it runs mappings, whatever their sources: it knows no protocol"},
	"eventsource/shards":   {"eventsource", "one shard that is asked by iterators, whatever the service"},
	"eventsource/kinesis":  {"eventsource eventsource/shards internal/awsconfig internal/wholebody", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/dynamodb": {"eventsource eventsource/shards internal/awsconfig", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/kafka":    {"eventsource eventsource/secret schemaregistry", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/activemq": {"eventsource eventsource/secret", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/rabbitmq": {"eventsource eventsource/secret", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/mongodb":  {"eventsource eventsource/secret", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/sqs":      {"eventsource internal/awsconfig internal/plainjson internal/wholebody", "a source: it knows its protocol, and nothing of invoking"},
	"eventsource/secret":   {"eventsource internal/awsconfig", "what sources log in with"},

	// What is counted.
	"cloudwatch":     {"cloudwatch/emf eventsource function pool", "CloudWatch's numbers of functions, for whoever collects them: it is told, and decides nothing"},
	"cloudwatch/emf": {"", "metrics in lines of logs: it reads what an enemy may have written, and can do nothing else"},

	// Kernels and the monitor of lane 1.
	"sandbox/firecracker/kernel":            {"internal/cleanup internal/filelock sandbox/firecracker/vmm", "a kernel for machines: it knows no monitor"},
	"sandbox/firecracker/qemu":              {"guest/control internal/cleanup sandbox/firecracker/vmm", "a monitor: it knows neither the backend nor the other one"},
	"sandbox/firecracker/vmm/vmmtest":       {"guest/control guest/wire sandbox/firecracker/initramfs sandbox/firecracker/pages sandbox/firecracker/vmm sandbox/firecracker/vmm/vmmtest/ask sandbox/host/cgroup sandbox/host/network", "for tests of monitors: it knows none of them"},
	"sandbox/firecracker/vmm/vmmtest/agent": {"guest/control guest/machine guest/wire sandbox/firecracker/vmm/vmmtest/ask", "the first process of machines in tests of monitors"},
	"sandbox/firecracker/vmm/vmmtest/ask":   {"guest/wire", "what the suite and its agent say to each other"},

	// Inside the sandbox: small, and without anything of the server.
	"guest":           {"guest/platform guest/telemetry guest/wire internal/proctree runtimeapi", "it runs inside the sandbox and must stay small; it meets the server in guest/wire alone"},
	"guest/control":   {"guest/wire", "what the backend of microVMs and the guest in one say to each other"},
	"guest/machine":   {"guest guest/control guest/machine/forkid guest/wire", "the guest in a machine of its own: it must stay as small as the guest"},
	"guest/wire":      {"", "all that the server and the guest share, so it drags nothing into either"},
	"guest/platform":  {"", "the platform's events as values: the guest and the server render the same"},
	"guest/telemetry": {"guest/platform", "what extensions hear of the platform, the function and each other"},
	"guest/readiness": {"", "who is ready for what: pure, so that its table is golden"},
	"runtimeapi":      {"guest/readiness guest/telemetry guest/wire", "served inside the sandbox: it knows neither the environment nor the sandbox that it is in"},

	"guest/machine/forkid": {"", "memory of processes: a mechanism"},

	"outbox":      {"", "messages on their way to somebody outside: it knows no disk, and nobody who gets them"},
	"courier":     {"async function invoke outbox push", "what rules and schedules send: it knows neither"},
	"eventbridge": {"agenda courier eventpattern iam internal/plainjson internal/shape outbox push schedule", "EventBridge: it knows no store, and nobody who is outside"},
	"scheduler":   {"agenda courier iam internal/plainjson internal/shape outbox push schedule", "EventBridge Scheduler: it knows no store, and nobody who is outside"},
	"agenda":      {"schedule", "it fires what is due, and knows nothing of what that is"},
	"schedule":    {"", "when schedules are due: pure, so that its tables are golden"},

	"push": {"access async function iam invoke", "what sources that push have in common: it knows none of them"},

	"notify":  {"async function objects push trigger", "notifications of S3, by HTTP and from folders: it knows no store and no listener"},
	"sns":     {"access async eventpattern function iam internal/nearby invoke push trigger", "topics, their subscriptions and messages: it knows neither the broker nor a queue"},
	"logfeed": {"function logpattern logstore push trigger", "what functions log goes to functions: without HTTP or a broker"},

	"gateway": {"access function gateway/vtl iam internal/finite internal/nearby invoke pool push trace trigger", "APIs in front of functions: it knows no store and no listener"},

	"gateway/openapi": {"gateway", "documents as definitions of APIs, and back: pure"},
	"gateway/vtl":     {"internal/plainjson", "mapping templates: pure, since whoever changes an API writes them"},

	// Adapters: each knows one technology, and none of the others.
	"api":                         {"access async blob codepackage controlplane eventsource eventsource/poller function iam internal/door internal/plainjson invoke layer pool runtimes signing trace trigger", "the public API speaks to the store that function declares and to the pool; it knows neither the broker nor environments"},
	"alb":                         {"function invoke pool push trace trigger", "a load balancer in front of a function: it knows no store and no listener"},
	"gateway/websocket":           {"access gateway iam push trace trigger", "connections of WebSocket APIs: it knows no store and no listener"},
	"gateway/gatewayapi":          {"gateway gateway/openapi iam internal/plainjson push", "the operations of API Gateway: they change records, and serve none"},
	"objects":                     {"iam", "files of folders, as S3 has objects"},
	"sts":                         {"access iam", "AWS's Security Token Service, as far as it is here"},
	"logsapi":                     {"function iam insights internal/plainjson internal/shape invoke logfeed logpattern logstore push", "CloudWatch Logs on the log store: of functions it knows the names of groups"},
	"admin":                       {"access execenv logpattern logstore snapshot", "the socket of the command line: it shows what others have, and finds no function"},
	"blob":                        {"snapshot", "the only package that knows the blob library; adapters never import each other"},
	"bucket":                      {"controlplane internal/awsconfig", "objects of S3, for the contract that the control plane declares; adapters never import each other"},
	"vpc":                         {"controlplane internal/awsconfig", "subnets and security groups of EC2, for the contract that the control plane declares; adapters never import each other"},
	"trace/xray":                  {"trace", "segments to a daemon of X-Ray; adapters never import each other"},
	"trace/otlp":                  {"trace", "the only package that knows OpenTelemetry; adapters never import each other"},
	"destination":                 {"async internal/awsconfig outbox push", "destinations in other services; adapters never import each other"},
	"jetstream":                   {"eventsource function jetstream/broker jetstream/journal layer push signing snapshot", "records in the broker; adapters never import each other"},
	"jetstream/broker":            {"", "how the broker is started and ended: it knows nothing of what is in it"},
	"jetstream/journal":           {"", "the second copy of the records, which must be readable when everything else is broken"},
	"jetstream/backlog":           {"async function jetstream/broker outbox push", "the accepted events on disk; adapters never import each other"},
	"backup":                      {"jetstream/journal", "a backup is read without a server"},
	"sandbox/gvisor":              {"sandbox sandbox/gvisor/launch sandbox/host sandbox/host/cgroup sandbox/host/etc sandbox/host/making sandbox/host/network", "a backend: it knows no function and no environment"},
	"sandbox/gvisor/launch":       {"sandbox", "what the server and thaw-sandbox share: a sandbox's start pays for it"},
	"sandbox/process":             {"guest internal/proctree sandbox", "a backend: it knows no function and no environment; its guest is this program itself"},
	"sandbox/firecracker/install": {"internal/filelock internal/treesum runtimes sandbox/firecracker/fcapi sandbox/firecracker/initramfs sandbox/firecracker/kernel sandbox/firecracker/vmm", "what microVMs are made of on this host, found and fetched: it runs no machine"},
	"sandbox/firecracker/kvm":     {"", "whether virtual machines run here: it makes one of its own, and knows no monitor"},
	"sandbox/firecracker/vmm":     {"sandbox/firecracker/pages sandbox/host/cgroup", "what a monitor of virtual machines must offer: it knows none of them"},
	"sandbox/host":                {"", "what lies beside all backends of a host: it knows none of them"},
	"sandbox/host/cgroup":         {"", "control groups, for any backend"},
	"sandbox/host/network":        {"", "namespaces, addresses and rules, for any backend"},

	"sandbox/firecracker/pages":           {"", "memory of machines that are running: it knows no monitor"},
	"sandbox/firecracker/pages/pagestest": {"", "memory that is served, for tests and the fake"},
	"sandbox/firecracker/images":          {"blob guest/control sandbox sandbox/firecracker/vmm", "mounts as disks of machines: it knows no machine"},

	"sandbox/firecracker/fcapi":                       {"", "Firecracker's API: it knows nothing of who drives it"},
	"sandbox/firecracker/jail":                        {"sandbox/firecracker/fcapi sandbox/firecracker/pages sandbox/firecracker/vmm", "a monitor: it knows no backend and no guest"},
	"sandbox/firecracker/fcapi/fcapitest/firecracker": {"sandbox/firecracker/fcapi/fcapitest", "the fake as a program"},
	"sandbox/firecracker/install/installtest":         {"sandbox/firecracker/install", "it finds programs for tests"},
	"sandbox/firecracker/fcapi/fcapitest":             {"sandbox/firecracker/fcapi sandbox/firecracker/pages/pagestest", "a fake Firecracker, for tests"},

	"sandbox/firecracker": {"guest/control guest/wire internal/treesum sandbox sandbox/firecracker/images sandbox/firecracker/pages sandbox/firecracker/vmm sandbox/host sandbox/host/cgroup sandbox/host/etc sandbox/host/making sandbox/host/network", "a backend: it knows no function and no environment; its monitor is given to it"},

	"sandbox/host/making": {"sandbox", "steps to a sandbox, for any backend"},
	"sandbox/host/etc":    {"sandbox/host/network", "files of every sandbox's root, for any backend"},

	"sandbox/firecracker/initramfs": {"guest/control internal/cpio", "what a machine's kernel starts with, as a file: it knows neither kernel nor monitor"},

	// Programs, and what is theirs alone. Only they, and the benchmarks, may know node.
	"node":               {everything, "the composition root, the only package that knows every other"},
	"node/embedded":      {"", "the programs that bin/thaw carries, as files"},
	"node/embedded/pack": {"", "it runs while bin/thaw is built"},
	"cmd/thaw":           {everything, "the command line and the server: thin, from flags to node.Open"},
	"cmd/thaw-guest":     {"guest guest/machine", "the guest carries nothing of the server"},

	"cmd/thaw-cache":                 {"cmd/thaw-cache/internal/cache cmd/thaw-cache/internal/origin", "an extension, which knows nothing of the server"},
	"cmd/thaw-cache/internal/cache":  {"", "values and their time: neither HTTP nor AWS"},
	"cmd/thaw-cache/internal/origin": {"cmd/thaw-cache/internal/cache", "who has the values"},

	"cmd/thaw-sandbox": {"cmd/thaw-sandbox/internal/agent cmd/thaw-sandbox/internal/descriptors cmd/thaw-sandbox/internal/launcher cmd/thaw-sandbox/internal/rewriter",
		"it is started three times a sandbox: what it links is paid three times"},
	"cmd/thaw-sandbox/internal/agent": {"cmd/thaw-sandbox/internal/agent/calls cmd/thaw-sandbox/internal/agent/seccompfile cmd/thaw-sandbox/internal/descriptors " +
		"cmd/thaw-sandbox/internal/statefile guest/wire sandbox/gvisor/launch", "it runs in a sandbox's own process"},
	"cmd/thaw-sandbox/internal/agent/calls":       {"cmd/thaw-sandbox/internal/statefile sandbox/gvisor/launch", "what an agent is asked"},
	"cmd/thaw-sandbox/internal/agent/gen":         {"cmd/thaw-sandbox/internal/agent/seccompfile", "it runs when filters are compiled"},
	"cmd/thaw-sandbox/internal/agent/seccompfile": {"", "compiled filters, as files"},
	"cmd/thaw-sandbox/internal/descriptors":       {"", "every process of a sandbox begins with it"},
	"cmd/thaw-sandbox/internal/launcher": {"cmd/thaw-sandbox/internal/agent/calls cmd/thaw-sandbox/internal/rewriter cmd/thaw-sandbox/internal/statefile sandbox sandbox/gvisor/launch sandbox/host/cgroup",
		"the parent of all sandboxes, which trusts none of them"},
	"cmd/thaw-sandbox/internal/rewriter":  {"cmd/thaw-sandbox/internal/descriptors cmd/thaw-sandbox/internal/statefile", "it reads what an enemy may have written, and can do nothing else"},
	"cmd/thaw-sandbox/internal/statefile": {"", "the form of a saved kernel's state"},

	"bench":            {"admin eventsource eventsource/eventsourcetest eventsource/eventsourcetest/kinesistest internal/outer internal/wholebody sandbox/firecracker/kvm", "it measures a server from outside, as a user sees it; filters alone, too"},
	"bench/extension":  {"", "an extension, as anybody writes one"},
	"bench/daily":      {"", "a function"},
	"bench/echo":       {"", "a function"},
	"samples":          {"codepackage", "functions to begin with, packed"},
	"samples/go-hello": {"", "a function"},
	"samples/sources":  {"admin eventsource/eventsourcetest eventsource/eventsourcetest/mongotest internal/wholebody", "it shows a source from outside, as a user sees it, with the servers that tests start"},

	// Mechanisms: each with a name of its own, and without anything of the service.
	"internal/awsconfig":      {"internal/wholebody", "a mechanism: how other services are called"},
	"internal/certtest":       {"", "a mechanism of tests"},
	"internal/cleanup":        {"", "a mechanism"},
	"internal/childtest":      {"", "a mechanism of tests"},
	"internal/door":           {"", "what stands before every public listener: it knows requests, not operations"},
	"internal/faultfs":        {"", "a mechanism"},
	"internal/golden":         {"", "a mechanism of tests"},
	"internal/imports":        {"", "this test"},
	"internal/nearby":         {"", "a mechanism: which addresses trust this host"},
	"internal/finite":         {"", "a mechanism: which numbers can be worked with"},
	"internal/outer":          {"internal/cpio sandbox/firecracker/kernel", "a mechanism of tests: a machine in which a test program runs; it knows no test"},
	"internal/outer/cgroupv2": {"", "tests alone: they see a server from outside"},
	"internal/outer/lanes":    {"internal/outer sandbox/firecracker/install", "it runs tests, and knows them by the names of their packages"},
	"internal/outer/run":      {"internal/outer", "package outer as a command"},
	"internal/cpio":           {"", "a mechanism"},
	"internal/filelock":       {"", "a mechanism"},
	"internal/plainjson":      {"", "a mechanism: JSON as services write it"},
	"internal/proctree":       {"", "a mechanism, which the guest has too"},
	"internal/project":        {"codepackage", "what a project folder says of its function: as files, before there is a server"},
	"internal/shape":          {"", "a mechanism: what members of requests must be like"},
	"internal/treesum":        {"", "a mechanism"},
	"internal/wholebody":      {"", "a mechanism of clients"},

	// Suites and fakes that are tests' own: whoever else imports them ships a test.
	"function/functiontest":                   {"function", "for tests of stores"},
	"eventsource/eventsourcetest/mongotest":   {"", "a server for tests and the sample"},
	"eventsource/eventsourcetest/kinesistest": {"", "a server for tests and the measurement"},
	"eventsource/eventsourcetest":             {"eventsource eventsource/poller function invoke pool", "for tests of sources, and their demonstration"},
	"push/pushtest":                           {"async invoke outbox push", "for tests of sources that push"},
	"snapshot/snapshottest":                   {"function snapshot", "for tests of stores"},
	"sandbox/sandboxtest":                     {"guest/wire sandbox", "for tests of backends: it speaks to the guest as execenv does, and needs no environment"},
	"sandbox/sandboxtest/bootstrap":           {"", "a function"},
	"sandbox/sandboxtest/snapshotfn":          {"", "a function"},
	"sandbox/host/network/networktest":        {"sandbox/host/network", "for tests of what sandboxes reach"},
	"sandbox/firecracker/firecrackertest":     {everything, "for tests of microVMs as they are"},
	"runtimes/uniquetest":                     {"", "tests alone"},
	"docs":                                    {"", "tests alone"},
	"docs/spec":                               {"", "tests alone"},
}

// outside lists what is not of this tree and only some packages may import, with all below them.
var outside = []struct{ path, may, why string }{
	{"net/http", "admin alb api bench cmd/thaw cmd/thaw-cache eventbridge eventsource/eventsourcetest eventsource/kinesis eventsource/secret eventsource/sqs gateway internal/door internal/wholebody logsapi node notify objects runtimes sandbox/firecracker/fcapi sandbox/sandboxtest scheduler schemaregistry sns sts vpc", "nouns know invocations, not HTTP"},
	{"github.com/nats-io/", "jetstream", "one adapter, and the packages below it, know the broker"},
	{"gocloud.dev/", "blob", "exactly one package knows the blob library"},
	{"github.com/erofs/", "sandbox/firecracker/images", "exactly one package knows how images are written"},
	{"gvisor.dev/", "cmd/thaw-sandbox", "a gVisor upgrade must touch the sandbox's own program and nothing else"},
	{"github.com/prometheus/", "cloudwatch node", "a metric decides nothing: packages count, and one place serves what they have counted"},
	{"github.com/aws/aws-sdk-go-v2", "bench bucket cmd/thaw cmd/thaw-cache destination eventsource/dynamodb eventsource/kafka eventsource/kinesis eventsource/secret eventsource/sqs internal/awsconfig internal/wholebody logsapi samples/sources schemaregistry vpc", "the server is the other end of AWS's SDK"},
	{"github.com/aws/aws-sdk-go-v2/config", "internal/awsconfig", "other services of AWS are called in one way"},
	{"go.opentelemetry.io/", "trace/otlp", "exactly one package knows OpenTelemetry"},
	{"github.com/spf13/cobra", "cmd/thaw", "flags are read in one place"},
}
