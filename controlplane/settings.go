package controlplane

import (
	"context"
	"errors"
	"slices"
	"strings"

	"thaw/function"
	"thaw/internal/plainjson"
)

// Settings are what a customer sets about a function, as far as said: a nil member keeps what is there.
type Settings struct {
	Runtime, Handler, Role, Description     *string
	TimeoutSeconds, MemoryMiB, EphemeralMiB *int
	KMSKeyARN, DeadLetterARN, Tracing       *string
	Vars                                    *map[string]string // nil within: set to nothing
	VPC                                     *function.VPC
	SnapStart                               *bool
	Layers                                  *[]string // ARNs of layer versions
	Logging                                 LoggingSettings
}

// LoggingSettings are Settings about a function's output.
type LoggingSettings struct{ Format, AppLevel, SysLevel, Group *string }

// reservedVars are the names that the platform sets itself. Source: AWS Lambda Developer Guide, "Defined runtime
// environment variables". _HANDLER and _X_AMZN_TRACE_ID do not pass the pattern of names anyway.
var reservedVars = []string{
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
	"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
}

// snapStartRuntime says whether AWS gives SnapStart to a runtime. Ours gives it to all; it is stored for every one of these.
func snapStartRuntime(r string) bool {
	switch r {
	case "java11", "java17", "java21", "java25", "java11.al2023", "java17.al2023", "dotnet8", "dotnet10":
		return true
	}
	return strings.HasPrefix(r, "python3.") && !slices.Contains([]string{"python3.6", "python3.7", "python3.8", "python3.9", "python3.10", "python3.11"}, r)
}

// maxSnapStartEphemeralMiB is how large /tmp may be with SnapStart on AWS. Source: Lambda Developer Guide, SnapStart,
// limitations; the wording is ours.
const maxSnapStartEphemeralMiB = 512

// apply merges settings into a configuration, member by member, and checks what depends on their meaning. It changes c
// also when it refuses.
func (p *Plane) apply(k function.Key, s *Settings, c *function.Config) error {
	set(&c.Role, s.Role)
	set(&c.Handler, s.Handler)
	set(&c.Description, s.Description)
	set(&c.TimeoutSeconds, s.TimeoutSeconds)
	set(&c.MemoryMiB, s.MemoryMiB)
	set(&c.Runtime, s.Runtime)
	set(&c.KMSKeyARN, s.KMSKeyARN)
	if s.Runtime != nil {
		if err := p.knownRuntime(*s.Runtime, c.Architecture); err != nil {
			return err
		}
	}
	if s.Layers != nil {
		layers, err := p.findLayers(k, *s.Layers)
		if err != nil {
			return err
		}
		c.Layers = layers
	}
	if s.Vars != nil {
		if err := checkVars(*s.Vars); err != nil {
			return err
		}
		c.Vars, c.VarsSet = *s.Vars, true
	}
	if s.VPC != nil {
		vpc := *s.VPC
		c.VPC = &vpc
	}
	set(&c.DeadLetterARN, s.DeadLetterARN)
	set(&c.Tracing, s.Tracing)
	set(&c.EphemeralMiB, s.EphemeralMiB)
	set(&c.SnapStart, s.SnapStart)
	if err := p.checkSnapStart(s, c); err != nil {
		return err
	}
	return applyLogging(&s.Logging, &c.Logging)
}

func (p *Plane) checkSnapStart(s *Settings, c *function.Config) error {
	if c.SnapStart && c.TenantIsolation != "" {
		return NotForTenants("SnapStart")
	}
	if !c.SnapStart || !p.Strict {
		return nil
	}
	if s.SnapStart != nil && !snapStartRuntime(c.Runtime) {
		return invalid("%s is not supported for SnapStart enabled functions.", c.Runtime)
	}
	if c.EphemeralMiB > maxSnapStartEphemeralMiB && (s.SnapStart != nil || s.EphemeralMiB != nil) {
		return invalid("Ephemeral storage of more than %d MB is not supported for SnapStart enabled functions.", maxSnapStartEphemeralMiB)
	}
	return nil
}

func applyLogging(s *LoggingSettings, l *function.Logging) error {
	if *s == (LoggingSettings{}) {
		return nil
	}
	set(&l.Format, s.Format)
	set(&l.Group, s.Group)
	if l.Format == "Text" {
		if s.AppLevel != nil || s.SysLevel != nil {
			return invalid(`LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.`)
		}
		l.AppLevel, l.SysLevel = "", ""
		return nil
	}
	set(&l.AppLevel, s.AppLevel)
	set(&l.SysLevel, s.SysLevel)
	for _, level := range []*string{&l.AppLevel, &l.SysLevel} {
		if *level == "" {
			*level = "INFO"
		}
	}
	return nil
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}

func checkVars(vars map[string]string) error {
	var reserved []string
	for _, name := range reservedVars {
		if _, ok := vars[name]; ok {
			reserved = append(reserved, name)
		}
	}
	if len(reserved) > 0 {
		return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(reserved, ", "))
	}
	b, err := plainjson.Marshal(vars)
	if err != nil {
		return err
	}
	if len(vars) > 0 && len(b) > function.MaxVarsBytes {
		return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: %s", b)
	}
	return nil
}

// findNetwork notes the VPC of a function's subnets, and refuses subnets and security groups that are none. It may take
// a while: no lock is held.
func (p *Plane) findNetwork(ctx context.Context, region string, v *function.VPC) error {
	if p.Networks == nil || v == nil || len(v.SubnetIDs)+len(v.SecurityGroupIDs) == 0 {
		return nil
	}
	id, err := p.Networks.Find(ctx, region, v.SubnetIDs, v.SecurityGroupIDs)
	if refused := (*NetworkError)(nil); errors.As(err, &refused) {
		return invalid("Error occurred while %s. EC2 Error Code: %s. EC2 Error Message: %s", refused.Operation, refused.Code, refused.Message)
	}
	v.ID = id
	return err
}
