package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thaw/access"
	"thaw/async"
	"thaw/sandbox/host/network"
	"thaw/trace/otlp"
)

// Config is everything that can be set about a server. A field's tags are its name (flag --NAME, variable THAW_NAME, line NAME = VALUE
// of the config file), its default, its unit where the type does not say it, and its meaning; nothing about a knob stands anywhere else.
//
// Default gives the defaults, Load the effective values; a Config made by Load also knows where each value came from (Values).
type Config struct {
	DataDir     string `knob:"data-dir" help:"folder of everything that outlives the server: records, code, logs, runtimes"`
	Listen      string `knob:"listen" default:"127.0.0.1:9600" help:"address of the Lambda API; one that others can reach needs credentials"`
	TLSCert     string `knob:"tls-cert" help:"file of a certificate with its chain, in PEM: then listen speaks TLS, and HTTP/2 too; read again when it changes"`
	TLSKey      string `knob:"tls-key" help:"file of the certificate's key"`
	ACMEDomain  string `knob:"acme-domain" help:"names of this server, separated by commas, that certificates are fetched for by ACME (from Let's Encrypt, unless acme-directory says another) when they are needed; function URLs below url-domain get theirs, too; the authority must reach listen at port 443"`
	ACMEEmail   string `knob:"acme-email" help:"address that the certificate authority may write to"`
	ACMEServer  string `knob:"acme-directory" help:"URL of another ACME directory"`
	AccountID   string `knob:"account-id" default:"000000000000" help:"account in every ARN; the region comes from each request"`
	Sandbox     string `knob:"sandbox" default:"auto" one:"auto,firecracker,gvisor,process,qemu" help:"isolation of the environments: firecracker, a microVM for each; gvisor, a kernel in user space; process, nothing; auto takes the first of these that can run here; qemu emulates microVMs without KVM, slowly, for the development of thaw"`
	Firecracker string `knob:"firecracker" help:"path of firecracker, 1.12 to 1.17, with jailer; what thaw sandbox install put into the data folder unless given"`
	Jailer      string `knob:"jailer" help:"path of the jailer of the same release"`
	GuestKernel string `knob:"guest-kernel" help:"path of the kernel of microVMs, an ELF vmlinux with everything built in; what thaw sandbox install put into the data folder unless given"`
	HostAccess  string `knob:"host-access" help:"what functions in isolated sandboxes (gvisor, firecracker) reach of this host, under the name host.thaw.internal: [ADDRESS:]PORT[-PORT] separated by commas, ADDRESS being 127.0.0.1 unless given"`
	FunctionAPI int    `knob:"function-api" default:"0" min:"0" help:"port of the loopback at which functions call this server's Lambda API and STS, as their role; 0: they do not"`
	Offline     bool   `knob:"offline" default:"false" help:"fetch nothing from package registries: runtimes are the host's, or put into the data folder by thaw runtime install"`
	Strict      bool   `knob:"strict" default:"false" help:"refuse what goes beyond what AWS documents"`
	LogLevel    string `knob:"log-level" default:"info" one:"debug,info,warn,error" help:"what the server's own log on stderr holds"`
	LogFormat   string `knob:"log-format" default:"text" one:"text,json" help:"form of the server's own log"`

	Credentials     string `knob:"credentials" help:"file of access keys, in the form of ~/.aws/credentials; requests must then be signed with one of them"`
	AccessKeyID     string `knob:"access-key-id" noflag:"yes" help:"one access key, with secret-access-key, instead of a credentials file"`
	SecretAccessKey string `knob:"secret-access-key" noflag:"yes" secret:"yes" help:"the secret of access-key-id"`
	Access          string `knob:"access" help:"folder of access keys, roles and what temporary credentials are made with; several servers may share it; access in the data folder unless given"`
	Unsigned        string `knob:"unsigned" default:"same-user" one:"same-user,everyone" help:"who of this host may send requests when there are no credentials: same-user, processes of the server's user, of root, and of the user that called sudo; everyone, all users"`
	AllowedHosts    string `knob:"allowed-hosts" help:"names of this host, separated by commas, that requests without a signature may be addressed to, beside localhost and its addresses; .example.test stands for all names below it"`

	URLDomain string `knob:"url-domain" default:"localhost" help:"function URLs are ID.lambda-url.REGION.DOMAIN, at the port of listen; https://DOMAIN[:PORT] or http://DOMAIN[:PORT] says how they are called when something stands in front of this server"`

	GatewayLocal   bool          `knob:"gateway-local" default:"false" help:"let APIs of API Gateway send requests to this host and its link: backends with a URL, and issuers of tokens; who may make an API then reaches what only this host may"`
	GatewayTimeout time.Duration `knob:"gateway-timeout" default:"30s" min:"1s" help:"how long the integration of an API may take at most: what one of a REST API asks for beyond AWS's 29 s needs more than the default, and those of HTTP APIs with AWS's 30 s get all of it"`

	SNSLocalEndpoints bool `knob:"sns-local-endpoints" default:"false" help:"subscriptions of topics by HTTP may lead to this host and its link; without it they may lead to this host when listen is on the loopback"`

	Sources string `knob:"sources" help:"where event sources are whose ARN does not say it (MSK, Amazon MQ, DocumentDB), as ARN=URL separated by blanks: amqps://HOST:5671 (RabbitMQ), amqp+ssl://HOST:5671 (ActiveMQ), kafka://HOST:9092,HOST:9092, mongodb://HOST:27017"`

	XRayDaemon   string `knob:"xray-daemon" help:"HOST:PORT of a daemon of X-Ray, or of a collector that takes its UDP datagrams: it gets segments of functions that trace actively, and what functions send to AWS_XRAY_DAEMON_ADDRESS"`
	OTLPEndpoint string `knob:"otlp-endpoint" help:"URL of a collector of OpenTelemetry, http://HOST:4318 for one, that gets the same invocations as spans; OTEL_EXPORTER_OTLP_ENDPOINT says it, too, and the other variables OTEL_EXPORTER_OTLP_... say the rest"`
	OTLPProtocol string `knob:"otlp-protocol" one:",grpc,http/protobuf" help:"how spans are sent; empty: what OTEL_EXPORTER_OTLP_PROTOCOL says, else http/protobuf"`

	Concurrency      int           `knob:"concurrency" default:"1000" min:"1" unit:"environments" help:"account limit of environments that run at one time"`
	BlankSandboxes   int           `knob:"blank-sandboxes" default:"2" min:"0" unit:"sandboxes" help:"sandboxes made ahead for cold starts (gvisor: each holds some 15 MiB; firecracker: slots, whose monitors wait)"`
	ColdStarts       int           `knob:"cold-starts" default:"0" min:"0" unit:"environments" help:"environments that may be in Init at one time; 0: as many as cores"`
	MemoryBudgetMiB  int           `knob:"memory-budget" default:"0" min:"0" unit:"MiB" help:"what all environments together may hold; 0: what the host has free at start, less a reserve"`
	IdleExpiry       time.Duration `knob:"idle-expiry" default:"10m" min:"1s" help:"an environment that served nothing for so long is shut down"`
	SnapStart        string        `knob:"snapstart" default:"asked" one:"none,asked,all" help:"who gets snapshots: asked, versions with SnapStart and $LATEST of functions tagged thaw:snapshot-latest=on; all, everything, in the background"`
	Spares           int           `knob:"spares" default:"4" min:"0" unit:"environments" help:"environments of a version with a snapshot that are restored ahead of demand: one, and under rising load up to so many; 0: none"`
	SpareWindow      time.Duration `knob:"spare-window" default:"1h" min:"1s" help:"a version keeps spares for so long after its last invoke"`
	SnapshotDiskMiB  int           `knob:"snapshot-disk" default:"20480" min:"64" unit:"MiB" help:"size at which snapshots of the versions that were not used for longest go"`
	SnapshotCache    string        `knob:"snapshot-cache" default:"disk" one:"disk,memory" help:"where the plain, unencrypted memory of snapshots lies for restores: disk, in the data folder; memory, nowhere else and within a quarter of the host's memory"`
	LogBoundMiB      int           `knob:"log-bound" default:"256" min:"1" unit:"MiB" help:"size at which a log group drops its oldest events"`
	AsyncConcurrency int           `knob:"async-concurrency" default:"16" min:"1" unit:"events" help:"asynchronous events of one function, or of one alias or version of it, that run at one time"`
	DrainTimeout     time.Duration `knob:"drain-timeout" default:"30s" min:"0s" help:"how long a stopping server waits for running invokes"`

	from map[string]Origin // by knob; a missing one is the default
	file string            // that was read

	variables func(string) (string, bool) // of the environment; nil: there are none

	delays async.Delays // between attempts of asynchronous events; zero: AWS's

	microVMs, images string // folders; empty: in the data folder, where nobody else uses them

	acmeTransport http.RoundTripper // to the ACME directory; nil: the usual one

	now func() time.Time // what idle time and the lives of environments and snapshots are counted by; nil: time.Now
}

// Origin says where a value came from.
type Origin string

// The places a value can come from, later ones beat earlier ones.
const (
	FromDefault     Origin = "default"
	FromFile        Origin = "config file"
	FromEnvironment Origin = "environment"
	FromFlag        Origin = "flag"
)

// Value is one effective value, as `thaw config` prints it.
type Value struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Unit    string `json:"unit,omitempty"`
	Origin  Origin `json:"origin"`
	Where   string `json:"where,omitempty"` // the variable, the flag or the file
	Default string `json:"default"`
	Help    string `json:"help"`
	NoFlag  bool   `json:"-"` // must not stand on a command line, where every user of the host can read it
	Switch  bool   `json:"-"` // true or false
}

// Default is the configuration of a server that was told nothing.
func Default() Config {
	var c Config
	for _, k := range knobs(&c) {
		if err := k.set(k.def()); err != nil {
			panic(fmt.Sprintf("default of %s: %v", k.name(), err)) // our own tag
		}
	}
	return c
}

// DefaultDataDir is /var/lib/thaw for root, else thaw in the user's data folder (XDG_DATA_HOME, ~/.local/share).
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/thaw"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "thaw")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/tmp"
	}
	return filepath.Join(home, ".local", "share", "thaw")
}

// InstallCommand is what to type, in front of a runtime's name, to put it into this data folder.
func (c *Config) InstallCommand() string {
	if c.DataDir == DefaultDataDir() {
		return "thaw runtime install"
	}
	return "thaw runtime install --data-dir " + c.DataDir
}

// Sources are where Load looks, beside the defaults.
type Sources struct {
	File  string                      // path of a config file; empty: DATA-DIR/thaw.conf, if there is one
	Env   func(string) (string, bool) // os.LookupEnv; nil: no variables
	Flags map[string]string           // flags as given, by name without dashes
}

// Load gives the effective configuration, checked. Errors name the knob and where its value came from.
func Load(src Sources) (Config, error) {
	c := Default()
	c.from = map[string]Origin{}
	env := src.Env
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	c.variables = env
	// The data folder decides which file is read, so it is known first.
	for _, k := range knobs(&c) {
		if k.name() == "data-dir" {
			if err := c.take(k, env, src.Flags); err != nil {
				return c, err
			}
		}
	}
	path, asked := src.File, src.File != ""
	if !asked {
		path, asked = env("THAW_CONFIG")
	}
	if !asked {
		path = filepath.Join(c.DataDir, "thaw.conf")
	}
	if err := c.readFile(path, asked); err != nil {
		return c, err
	}
	for _, k := range knobs(&c) {
		if err := c.take(k, env, src.Flags); err != nil {
			return c, err
		}
	}
	for name := range src.Flags {
		if !known(name) {
			return c, fmt.Errorf("unknown setting %q", name)
		}
	}
	abs, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, fmt.Errorf("data folder %s: %w", c.DataDir, err)
	}
	c.DataDir = abs
	return c, c.Validate()
}

// take sets a knob from its variable and its flag, if they are there.
func (c *Config) take(k knob, env func(string) (string, bool), flags map[string]string) error {
	if v, ok := env(k.variable()); ok {
		if err := k.set(v); err != nil {
			return fmt.Errorf("%s: %w", k.variable(), err)
		}
		c.from[k.name()] = FromEnvironment
	}
	if v, ok := flags[k.name()]; ok {
		if err := k.set(v); err != nil {
			return fmt.Errorf("--%s: %w", k.name(), err)
		}
		c.from[k.name()] = FromFlag
	}
	return nil
}

func (c *Config) readFile(path string, must bool) error {
	text, err := os.ReadFile(path)
	if !must && (errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("config file: %w", err)
	}
	values, err := parseFile(string(text))
	if err != nil {
		return fmt.Errorf("config file %s: %w", path, err)
	}
	c.file = path
	for _, k := range knobs(c) {
		v, ok := values[k.name()]
		if !ok || c.from[k.name()] != "" { // data-dir was decided by a variable or a flag
			continue
		}
		if err := k.set(v); err != nil {
			return fmt.Errorf("config file %s: %s: %w", path, k.name(), err)
		}
		c.from[k.name()] = FromFile
	}
	return nil
}

// parseFile reads lines of NAME = VALUE; empty lines and lines that begin with # are skipped.
func parseFile(text string) (map[string]string, error) {
	values := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			return nil, fmt.Errorf("line %d: not of the form NAME = VALUE", i+1)
		case !known(name):
			return nil, fmt.Errorf("line %d: unknown setting %q", i+1, name)
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("line %d: %s is set twice", i+1, name)
		}
		values[name] = value
	}
	return values, nil
}

// Validate says what is wrong with the values, all at once.
func (c *Config) Validate() error {
	var errs []error
	for _, k := range knobs(c) {
		if err := k.check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.name(), err))
		}
	}
	if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("data-dir: %q is no absolute path", c.DataDir))
	}
	if len(c.AccountID) != 12 || strings.Trim(c.AccountID, "0123456789") != "" {
		errs = append(errs, fmt.Errorf("account-id: %q is not 12 digits", c.AccountID))
	}
	if c.Strict && c.SnapStart == "all" {
		errs = append(errs, errors.New("snapstart: all goes beyond what AWS documents, which strict refuses"))
	}
	if _, err := c.urlNames(""); err != nil {
		errs = append(errs, fmt.Errorf("url-domain: %w", err))
	}
	if c.FunctionAPI > 65535 {
		errs = append(errs, fmt.Errorf("function-api: %d is no port", c.FunctionAPI))
	} else if _, err := network.ParseHostAccess(c.hostAccess()); err != nil {
		errs = append(errs, fmt.Errorf("host-access: %w", err))
	}
	if c.XRayDaemon != "" {
		if _, port, err := net.SplitHostPort(c.XRayDaemon); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("xray-daemon: %q is not of the form HOST:PORT", c.XRayDaemon))
		}
	}
	if c.OTLPEndpoint != "" {
		if err := otlp.CheckEndpoint(c.OTLPEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("otlp-endpoint: %w", err))
		}
	}
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") {
		errs = append(errs, errors.New("access-key-id and secret-access-key go together"))
	}
	errs = append(errs, c.validateTLS())
	switch loopback, err := c.loopback(); {
	case err != nil:
		errs = append(errs, fmt.Errorf("listen: %w", err))
	case !loopback && c.Credentials == "" && c.AccessKeyID == "" && !access.HasKeys(c.AccessDir()):
		errs = append(errs, fmt.Errorf("listen: %s can be reached from other hosts, and without credentials anybody there could run code here: "+
			"give --credentials FILE (or THAW_ACCESS_KEY_ID and THAW_SECRET_ACCESS_KEY), make keys with thaw key add, or listen on 127.0.0.1", c.Listen))
	}
	return errors.Join(errs...)
}

// hostAccess is what sandboxes reach of this host.
func (c *Config) hostAccess() string {
	if c.FunctionAPI == 0 {
		return c.HostAccess
	}
	return c.HostAccess + "," + strconv.Itoa(c.FunctionAPI)
}

// AccessDir is the folder of access keys and roles.
func (c *Config) AccessDir() string {
	if c.Access == "" {
		return filepath.Join(c.DataDir, "access")
	}
	return c.Access
}

// loopback says whether only this host can reach Listen.
func (c *Config) loopback() (bool, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false, err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return false, fmt.Errorf("%q is no port", port)
	}
	if host == "localhost" {
		return true, nil
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback(), nil
}

// hosts are the names that requests without a signature may be addressed to: those of AllowedHosts, and that of Listen.
func (c *Config) hosts() []string {
	var names []string
	for name := range strings.SplitSeq(c.AllowedHosts, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

// Level is LogLevel as log/slog knows it.
func (c *Config) Level() slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// Values lists every value and where it came from, in the order of the struct; secrets are masked.
func (c *Config) Values() []Value {
	var out []Value
	for _, k := range knobs(c) {
		v := Value{
			Name: k.name(), Value: k.String(), Unit: k.field.Tag.Get("unit"), Origin: c.from[k.name()], Default: k.def(),
			Help: k.field.Tag.Get("help"), NoFlag: k.field.Tag.Get("noflag") != "", Switch: k.field.Type.Kind() == reflect.Bool,
		}
		if k.field.Tag.Get("secret") != "" && v.Value != "" {
			v.Value = "(set)"
		}
		switch v.Origin {
		case FromEnvironment:
			v.Where = k.variable()
		case FromFlag:
			v.Where = "--" + k.name()
		case FromFile:
			v.Where = c.file
		default:
			v.Origin = FromDefault
		}
		out = append(out, v)
	}
	return out
}
