package api

import (
	"strings"

	"thaw/controlplane"
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
	v.layerARNs("layers", in.Layers)
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

// unsupported refuses what is not there yet.
func (in *configInput) unsupported() error {
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
	return nil
}

// settings is what was sent, in the words of the control plane.
func (in *configInput) settings() *controlplane.Settings {
	s := &controlplane.Settings{Runtime: in.Runtime, Handler: in.Handler, Role: in.Role, Description: in.Description,
		TimeoutSeconds: in.Timeout, MemoryMiB: in.MemorySize, KMSKeyARN: in.KMSKeyArn}
	if in.Layers != nil {
		s.Layers = &in.Layers
	}
	if in.Environment != nil {
		s.Vars = &in.Environment.Variables
	}
	if v := in.VpcConfig; v != nil {
		s.VPC = &function.VPC{SubnetIDs: v.SubnetIds, SecurityGroupIDs: v.SecurityGroupIds, IPv6: v.Ipv6AllowedForDualStack}
	}
	if in.DeadLetterConfig != nil {
		s.DeadLetterARN = new(string) // no target: none any more
		if target := in.DeadLetterConfig.TargetArn; target != nil {
			s.DeadLetterARN = target
		}
	}
	if in.TracingConfig != nil {
		s.Tracing = in.TracingConfig.Mode
	}
	if in.EphemeralStorage != nil {
		s.EphemeralMiB = in.EphemeralStorage.Size
	}
	if in.SnapStart != nil && in.SnapStart.ApplyOn != nil {
		on := *in.SnapStart.ApplyOn == "PublishedVersions"
		s.SnapStart = &on
	}
	if l := in.LoggingConfig; l != nil {
		s.Logging = controlplane.LoggingSettings{Format: l.LogFormat, AppLevel: l.ApplicationLogLevel, SysLevel: l.SystemLogLevel, Group: l.LogGroup}
	}
	return s
}
