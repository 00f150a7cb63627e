package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"thaw/function"
)

// functionConfiguration is the wire's FunctionConfiguration. Members that are unset are left out.
type functionConfiguration struct {
	FunctionName     string
	FunctionArn      function.ARN
	Runtime          string `json:",omitempty"`
	Role             string
	Handler          string `json:",omitempty"`
	CodeSize         int64
	Description      string
	Timeout          int
	MemorySize       int
	LastModified     string
	CodeSha256       string
	Version          function.VersionNumber
	VpcConfig        *vpcConfig   `json:",omitempty"`
	DeadLetterConfig *deadLetter  `json:",omitempty"`
	Environment      *environment `json:",omitempty"`
	KMSKeyArn        string       `json:",omitempty"`
	Layers           []usedLayer  `json:",omitempty"`
	TracingConfig    tracing
	RevisionId       string
	PackageType      string
	Architectures    []string
	EphemeralStorage ephemeral
	SnapStart        snapStart
	LoggingConfig    logging
	TenancyConfig    *tenancyConfig `json:",omitempty"`

	State                      string          `json:",omitempty"`
	StateReason                string          `json:",omitempty"`
	StateReasonCode            string          `json:",omitempty"`
	LastUpdateStatus           string          `json:",omitempty"`
	LastUpdateStatusReason     string          `json:",omitempty"`
	LastUpdateStatusReasonCode string          `json:",omitempty"`
	RuntimeVersionConfig       *runtimeVersion `json:",omitempty"`
}

type (
	vpcConfig struct {
		SubnetIds               []string
		SecurityGroupIds        []string
		VpcId                   string
		Ipv6AllowedForDualStack bool
	}
	deadLetter     struct{ TargetArn string }
	tenancyConfig  struct{ TenantIsolationMode *string }
	environment    struct{ Variables map[string]string }
	tracing        struct{ Mode string }
	ephemeral      struct{ Size int }
	snapStart      struct{ ApplyOn, OptimizationStatus string }
	runtimeVersion struct{ RuntimeVersionArn string }
	usedLayer      struct {
		Arn      string
		CodeSize int64
	}
	logging struct {
		LogFormat           string
		ApplicationLogLevel string `json:",omitempty"`
		SystemLogLevel      string `json:",omitempty"`
		LogGroup            string
	}
)

const beingCreated, codeCreating = "The function is being created.", "Creating"

// timestamp is the service's form for the times of functions, which tools parse with a fixed layout.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000+0000") }

// listed is a version as lists show it: without states and without the runtime's version.
func listed(r *function.Record, v *function.VersionRecord, arn function.ARN) *functionConfiguration {
	c := &v.Config
	out := &functionConfiguration{
		FunctionName: r.Name, FunctionArn: arn,
		Runtime: c.Runtime, Role: c.Role, Handler: c.Handler, CodeSize: c.CodeSize, Description: c.Description,
		Timeout: c.TimeoutSeconds, MemorySize: c.MemoryMiB, LastModified: timestamp(v.Modified), CodeSha256: base64Hash(c.CodeSHA256),
		Version: v.Number, KMSKeyArn: c.KMSKeyARN, TracingConfig: tracing{c.Tracing}, RevisionId: v.RevisionID, PackageType: "Zip",
		Architectures: []string{c.Architecture}, EphemeralStorage: ephemeral{c.EphemeralMiB},
		SnapStart:     snapStart{ApplyOn: "None", OptimizationStatus: "Off"},
		LoggingConfig: logging{c.Logging.Format, c.Logging.AppLevel, c.Logging.SysLevel, c.Logging.Group},
	}
	if c.SnapStart {
		out.SnapStart.ApplyOn = "PublishedVersions"
	}
	if v.Optimized && v.Life == function.Live {
		out.SnapStart.OptimizationStatus = "On"
	}
	if c.VPC != nil {
		out.VpcConfig = &vpcConfig{SubnetIds: notNil(c.VPC.SubnetIDs), SecurityGroupIds: notNil(c.VPC.SecurityGroupIDs), Ipv6AllowedForDualStack: c.VPC.IPv6}
		switch {
		case c.VPC.ID != "":
			out.VpcConfig.VpcId = c.VPC.ID
		case len(c.VPC.SubnetIDs) > 0:
			sum := sha256.Sum256([]byte(c.VPC.SubnetIDs[0]))
			out.VpcConfig.VpcId = "vpc-" + hex.EncodeToString(sum[:])[:17] // invented: there are no VPCs here
		}
	}
	if c.TenantIsolation != "" {
		out.TenancyConfig = &tenancyConfig{&c.TenantIsolation}
	}
	if c.DeadLetterARN != "" {
		out.DeadLetterConfig = &deadLetter{c.DeadLetterARN}
	}
	for _, l := range c.Layers {
		out.Layers = append(out.Layers, usedLayer{l.ARN, l.Size})
	}
	if c.VarsSet {
		vars := c.Vars
		if vars == nil {
			vars = map[string]string{}
		}
		out.Environment = &environment{vars}
	}
	return out
}

// described is a version as everything but a list shows it.
func described(r *function.Record, v *function.VersionRecord, arn function.ARN) *functionConfiguration {
	out := listed(r, v, arn)
	sum := sha256.Sum256([]byte(v.Config.Runtime))
	out.RuntimeVersionConfig = &runtimeVersion{"arn:" + r.Partition + ":lambda:" + r.Region + "::runtime:" + hex.EncodeToString(sum[:])}
	switch v.Life {
	case function.Creating:
		out.State, out.StateReason, out.StateReasonCode = "Pending", beingCreated, codeCreating
	case function.Reviving:
		out.State, out.StateReason, out.StateReasonCode = "Pending", beingCreated, codeCreating
		out.inProgress()
	case function.Live:
		out.State, out.LastUpdateStatus = "Active", "Successful"
	case function.Updating:
		out.State = "Active"
		out.inProgress()
	case function.UpdateFailed:
		out.State, out.LastUpdateStatus, out.LastUpdateStatusReason, out.LastUpdateStatusReasonCode = "Active", "Failed", v.Reason, v.ReasonCode
	case function.Failed:
		out.State, out.StateReason, out.StateReasonCode = "Failed", v.Reason, v.ReasonCode
		out.LastUpdateStatus, out.LastUpdateStatusReason, out.LastUpdateStatusReasonCode = "Failed", v.Reason, v.ReasonCode
	case function.Inactive:
		out.State, out.StateReason, out.StateReasonCode, out.LastUpdateStatus = "Inactive", "The function is idle.", "Idle", "Successful"
		if v.ReasonCode != "" { // it could not be woken
			out.StateReason, out.StateReasonCode = v.Reason, v.ReasonCode
		}
	case function.Waking:
		out.State, out.StateReason, out.StateReasonCode, out.LastUpdateStatus = "Pending", "The function is being restored from its idle state.", "Restoring", "Successful"
	}
	return out
}

// short is a version as lists show it.
func (s *Server) short(e *function.Entry, v *function.VersionRecord, arn function.ARN) *functionConfiguration {
	return s.optimize(e, v, listed(e.Record, v, arn))
}

// long is a version as the operations that read one show it.
func (s *Server) long(e *function.Entry, v *function.VersionRecord, arn function.ARN) *functionConfiguration {
	return s.explain(v, s.optimize(e, v, described(e.Record, v, arn)))
}

// optimize says On where a snapshot stands behind a version that does not wait for one, $LATEST among them.
func (s *Server) optimize(e *function.Entry, v *function.VersionRecord, out *functionConfiguration) *functionConfiguration {
	if s.Plane.Optimized(e, v) {
		out.SnapStart.OptimizationStatus = "On"
	}
	return out
}

// explain says what a version waits for, where that is a runtime on its way.
func (s *Server) explain(v *function.VersionRecord, out *functionConfiguration) *functionConfiguration {
	if !v.Life.Settling() {
		return out
	}
	fetching := s.Plane.Runtimes.Fetching(v.Config.Runtime)
	switch {
	case fetching == "":
	case out.State == "Pending":
		out.StateReason += " " + fetching + "."
		fallthrough
	case out.LastUpdateStatus == "InProgress":
		if out.LastUpdateStatusReason != "" {
			out.LastUpdateStatusReason += " " + fetching + "."
		}
	}
	return out
}

// inProgress uses the words of creation, as recorded, although "Creating" is not among the model's for this member.
func (out *functionConfiguration) inProgress() {
	out.LastUpdateStatus, out.LastUpdateStatusReason, out.LastUpdateStatusReasonCode = "InProgress", beingCreated, codeCreating
}

func base64Hash(hexHash string) string {
	b, err := hex.DecodeString(hexHash)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
