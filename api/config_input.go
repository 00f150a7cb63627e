package api

import (
	"slices"
	"strings"

	"thaw/function"
)

// configInput is the part of the request that CreateFunction and UpdateFunctionConfiguration share. A nil member was not sent.
type configInput struct {
	Role        *string
	Handler     *string
	Description *string
	Timeout     *int
	MemorySize  *int
	VpcConfig   *struct {
		SubnetIds               []string
		SecurityGroupIds        []string
		Ipv6AllowedForDualStack bool
	}
	Environment *struct {
		Variables map[string]string
	}
	Runtime           *string
	DeadLetterConfig  *struct{ TargetArn *string }
	KMSKeyArn         *string
	TracingConfig     *struct{ Mode *string }
	Layers            []string
	FileSystemConfigs []struct{ Arn, LocalMountPath *string }
	ImageConfig       *struct{}
	EphemeralStorage  *struct{ Size *int }
	SnapStart         *struct{ ApplyOn *string }
	LoggingConfig     *struct{ LogFormat, ApplicationLogLevel, SystemLogLevel, LogGroup *string }

	CapacityProviderConfig *struct{}
	DurableConfig          *struct{}
}

func (in *configInput) check(v *violations) {
	v.text("role", in.Role, 0, -1, roleRE, rolePattern)
	v.text("handler", in.Handler, 0, 128, handlerRE, handlerPattern)
	v.text("description", in.Description, 0, 256, nil, "")
	v.number("timeout", in.Timeout, 1, int(function.MaxTimeout.Seconds()))
	v.number("memorySize", in.MemorySize, function.MinMemoryMiB, function.MaxMemoryMiB)
	if in.VpcConfig != nil {
		v.listSize("vpcConfig.subnetIds", in.VpcConfig.SubnetIds, 16)
		v.listSize("vpcConfig.securityGroupIds", in.VpcConfig.SecurityGroupIds, 5)
		for _, id := range in.VpcConfig.SubnetIds {
			if !subnetRE.MatchString(id) {
				v.add(quoted("["+strings.Join(in.VpcConfig.SubnetIds, ", ")+"]"), "vpcConfig.subnetIds", "Member must satisfy constraint: ["+patternRule(subnetPattern)+", Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must not be null]")
				break
			}
		}
		for _, id := range in.VpcConfig.SecurityGroupIds {
			if !groupRE.MatchString(id) {
				v.add(quoted("["+strings.Join(in.VpcConfig.SecurityGroupIds, ", ")+"]"), "vpcConfig.securityGroupIds", "Member must satisfy constraint: ["+patternRule(groupPattern)+", Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must not be null]")
				break
			}
		}
	}
	if in.Environment != nil {
		for name := range in.Environment.Variables {
			if !varNameRE.MatchString(name) {
				v.add(quoted("*** Sensitive Data Redacted ***"), "environment.variables", "Map keys must satisfy constraint: ["+patternRule(varNamePattern)+"]")
				break
			}
		}
	}
	if in.DeadLetterConfig != nil {
		v.text("deadLetterConfig.targetArn", in.DeadLetterConfig.TargetArn, 0, -1, anyARNRE, anyARNPattern)
	}
	v.text("kMSKeyArn", in.KMSKeyArn, 0, -1, anyARNRE, anyARNPattern)
	if in.TracingConfig != nil {
		v.oneOf("tracingConfig.mode", in.TracingConfig.Mode, "Active", "PassThrough")
	}
	if in.EphemeralStorage != nil {
		v.notNull("ephemeralStorage.size", in.EphemeralStorage.Size == nil)
		v.number("ephemeralStorage.size", in.EphemeralStorage.Size, function.MinEphemeralMiB, function.MaxEphemeralMiB)
	}
	if in.SnapStart != nil {
		v.oneOf("snapStart.applyOn", in.SnapStart.ApplyOn, "PublishedVersions", "None")
	}
	if l := in.LoggingConfig; l != nil {
		v.oneOf("loggingConfig.logFormat", l.LogFormat, "JSON", "Text")
		v.oneOf("loggingConfig.applicationLogLevel", l.ApplicationLogLevel, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
		v.oneOf("loggingConfig.systemLogLevel", l.SystemLogLevel, "DEBUG", "INFO", "WARN")
		v.text("loggingConfig.logGroup", l.LogGroup, 1, 512, logGroupRE, logGroupPattern)
	}
}

// reservedVars are the names that the platform sets itself. Source: AWS Lambda Developer Guide, "Defined runtime environment variables".
// _HANDLER and _X_AMZN_TRACE_ID do not pass the pattern of names anyway.
var reservedVars = []string{
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
	"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
}

// snapStartRuntimes are the prefixes and names that AWS gives SnapStart to. Ours gives it to all; it is stored for every one of these.
func snapStartRuntime(r string) bool {
	switch r {
	case "java11", "java17", "java21", "java25", "java11.al2023", "java17.al2023", "dotnet8", "dotnet10":
		return true
	}
	return strings.HasPrefix(r, "python3.") && !slices.Contains([]string{"python3.6", "python3.7", "python3.8", "python3.9", "python3.10", "python3.11"}, r)
}

// apply merges what was sent into a configuration, member by member, and checks what depends on its meaning. It changes c also when it fails.
func (s *Server) apply(in *configInput, c *function.Config) error {
	set(&c.Role, in.Role)
	set(&c.Handler, in.Handler)
	set(&c.Description, in.Description)
	set(&c.TimeoutSeconds, in.Timeout)
	set(&c.MemoryMiB, in.MemorySize)
	set(&c.Runtime, in.Runtime)
	set(&c.KMSKeyARN, in.KMSKeyArn)
	switch {
	case len(in.FileSystemConfigs) > 0:
		return notImplemented("FileSystemConfigs")
	case in.ImageConfig != nil:
		return notImplemented("ImageConfig")
	case in.CapacityProviderConfig != nil:
		return notImplemented("CapacityProviderConfig")
	case in.DurableConfig != nil:
		return notImplemented("DurableConfig")
	}
	if in.Runtime != nil {
		if err := s.knownRuntime(*in.Runtime, c.Architecture); err != nil {
			return err
		}
	}
	if err := checkLayers(in.Layers); err != nil {
		return err
	}
	if in.Environment != nil {
		if err := checkVars(in.Environment.Variables); err != nil {
			return err
		}
		c.Vars, c.VarsSet = in.Environment.Variables, true
	}
	if in.VpcConfig != nil {
		c.VPC = &function.VPC{SubnetIDs: in.VpcConfig.SubnetIds, SecurityGroupIDs: in.VpcConfig.SecurityGroupIds, IPv6: in.VpcConfig.Ipv6AllowedForDualStack}
	}
	if in.DeadLetterConfig != nil {
		c.DeadLetterARN = ""
		set(&c.DeadLetterARN, in.DeadLetterConfig.TargetArn)
	}
	if in.TracingConfig != nil {
		set(&c.Tracing, in.TracingConfig.Mode)
	}
	if in.EphemeralStorage != nil {
		set(&c.EphemeralMiB, in.EphemeralStorage.Size)
	}
	if in.SnapStart != nil && in.SnapStart.ApplyOn != nil {
		c.SnapStart = *in.SnapStart.ApplyOn == "PublishedVersions"
	}
	if c.SnapStart && !snapStartRuntime(c.Runtime) && in.SnapStart != nil && s.Strict {
		return invalidParameter("%s is not supported for SnapStart enabled functions.", c.Runtime)
	}
	if c.SnapStart && c.EphemeralMiB > maxSnapStartEphemeralMiB && (in.SnapStart != nil || in.EphemeralStorage != nil) && s.Strict {
		return invalidParameter("Ephemeral storage of more than %d MB is not supported for SnapStart enabled functions.", maxSnapStartEphemeralMiB)
	}
	return applyLogging(in, c)
}

// maxSnapStartEphemeralMiB is how large /tmp may be with SnapStart on AWS. Source: Lambda Developer Guide, SnapStart, limitations; the wording is ours.
const maxSnapStartEphemeralMiB = 512

func applyLogging(in *configInput, c *function.Config) error {
	l := in.LoggingConfig
	if l == nil {
		return nil
	}
	set(&c.Logging.Format, l.LogFormat)
	set(&c.Logging.Group, l.LogGroup)
	if c.Logging.Format == "Text" {
		if l.ApplicationLogLevel != nil || l.SystemLogLevel != nil {
			return invalidParameter(`LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.`)
		}
		c.Logging.AppLevel, c.Logging.SysLevel = "", ""
		return nil
	}
	set(&c.Logging.AppLevel, l.ApplicationLogLevel)
	set(&c.Logging.SysLevel, l.SystemLogLevel)
	if c.Logging.AppLevel == "" {
		c.Logging.AppLevel = "INFO"
	}
	if c.Logging.SysLevel == "" {
		c.Logging.SysLevel = "INFO"
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
		return invalidParameter("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(reserved, ", "))
	}
	b, err := encode(vars)
	if err != nil {
		return err
	}
	if len(vars) > 0 && len(b) > function.MaxVarsBytes {
		return invalidParameter("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: %s", b)
	}
	return nil
}

// checkLayers answers as the service does where no layer exists: PublishLayerVersion is not there yet.
func checkLayers(layers []string) error {
	if len(layers) > function.MaxLayers {
		return invalidParameter("Cannot reference more than %d layers.", function.MaxLayers)
	}
	if len(layers) > 0 {
		return invalidParameter("Layer version %s does not exist.", layers[0])
	}
	return nil
}
