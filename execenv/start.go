package execenv

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// Where things are inside a sandbox. Source: spec 6.2.
const (
	taskRoot   = "/var/task"
	optDir     = "/opt"
	runtimeDir = "/var/runtime"
	localeDir  = "/usr/lib/locale"
	apiAddress = "127.0.0.1:9001"
	// xrayAddress is an address of the sandbox's own loopback, so that a collector in the sandbox may have 127.0.0.1:2000.
	xrayAddress = "169.254.100.1:2000"
)

// Limits of the runtime's processes. Source: Lambda quotas; recordings; spec 6.5.
const (
	openFiles = 1024
	processes = 1024
)

// start is the message that runs the function's runtime, with paths as the sandbox has them.
func (d *driver) start() wire.Start {
	v, l, caps := d.o.Version, d.o.Launch, d.o.Backend.Capabilities()
	at := func(p string) string { return p }
	if !caps.Mounts {
		mounts := append(slices.Clone(l.Mounts), sandbox.Mount{Source: d.box.HostPath("/tmp"), Target: "/tmp"})
		at = func(p string) string { return sandbox.Translate(mounts, p) }
	}
	m := wire.Start{Generation: d.gen.number, Dir: at(taskRoot), UID: caps.UID, GID: caps.GID, NoFile: openFiles, TmpBytes: int64(v.EphemeralMiB) << 20,
		LogWindow: wire.LogWindow, Segments: d.o.Segments != nil, LogFrames: l.LogFrames, APISocket: l.APISocket, LogsJSON: v.LogFormat == "JSON",
		Function: wire.Function{Name: v.Name, Version: string(v.Number), Handler: v.Handler, AccountID: v.Account}}
	if opt := at(optDir); caps.Mounts || opt != optDir { // without a layer of its own the host's /opt is nobody's
		m.Opt = opt
	}
	if d.o.Make != nil {
		m.SnapStart, m.Credentials, m.Layout = true, d.o.credentials(), d.o.Make.Layout
		m.Priming = len(d.o.Make.Primes) > 0
	}
	if caps.Isolates {
		m.NProc = processes // on a shared host the limit would count other people's processes
	}
	if !caps.ManyPerHost {
		m.APIHost, m.XRayHost = apiAddress, xrayAddress
	}
	for _, a := range l.Argv {
		m.Argv = append(m.Argv, paths(a, at))
	}
	for _, c := range l.Candidates {
		m.Candidates = append(m.Candidates, at(c))
	}
	for k, val := range d.vars(at) {
		m.Vars = append(m.Vars, k+"="+val)
	}
	slices.Sort(m.Vars)
	return m
}

// paths translates a path, or a list of them as in PATH and a class path.
func paths(list string, at func(string) string) string {
	if !strings.Contains(list, "/") {
		return list
	}
	parts := strings.Split(list, ":")
	for i, p := range parts {
		if strings.HasPrefix(p, "/") {
			parts[i] = at(p)
		}
	}
	return strings.Join(parts, ":")
}

// vars merges the environment variables: later ones win. Source: spec 6.1.
func (d *driver) vars(at func(string) string) map[string]string {
	v, l := d.o.Version, d.o.Launch
	out := map[string]string{}
	for k, val := range l.Vars {
		if slices.Contains(l.PathLists, k) {
			val = paths(val, at)
		}
		out[k] = val
	}
	for k, val := range v.Vars {
		if !strings.HasPrefix(k, "_") { // E-143
			out[k] = val
		}
	}
	for k, val := range map[string]string{
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR", // where the daemon is, the guest knows
		"AWS_ACCESS_KEY_ID":        d.o.AccessKeyID, "AWS_SECRET_ACCESS_KEY": d.o.SecretAccessKey, "AWS_SESSION_TOKEN": d.o.SessionToken,
	} {
		out[k] = val
	}
	maps.Copy(out, l.Reserved)
	delete(out, "AWS_XRAY_DAEMON_ADDRESS") // not the customer's to say, though it is not documented as reserved. Source: spec 6.1
	for k, val := range map[string]string{
		"_HANDLER": v.Handler, "AWS_REGION": v.Region, "AWS_DEFAULT_REGION": v.Region,
		"AWS_LAMBDA_FUNCTION_NAME": v.Name, "AWS_LAMBDA_FUNCTION_VERSION": string(v.Number), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(v.MemoryMiB),
		"AWS_LAMBDA_INITIALIZATION_TYPE": d.initType(), "AWS_LAMBDA_LOG_GROUP_NAME": v.LogGroup, "AWS_LAMBDA_LOG_STREAM_NAME": d.o.Stream,
		"LAMBDA_TASK_ROOT": at(taskRoot), "LAMBDA_RUNTIME_DIR": at(runtimeDir),
	} {
		out[k] = val
	}
	if d.o.Make != nil {
		// Credentials come over HTTP and the log stream is not known: both would be frozen into the snapshot. Source: spec 5.3, 5.9; E-121.
		out["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
		for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"} {
			delete(out, k)
		}
		if n := len(d.o.Make.Primes); n > 0 {
			out[PrimingVariable] = strconv.Itoa(n)
		}
	}
	if v.LogFormat == "JSON" {
		out["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
		if v.AppLogLevel != "" {
			out["AWS_LAMBDA_LOG_LEVEL"] = v.AppLogLevel
		}
	}
	if !d.o.Backend.Capabilities().Mounts { // the host's /tmp is not this environment's
		out["TMPDIR"] = at("/tmp")
		if at(optDir) != optDir { // for our Python client, whose search path names it
			out["_THAW_OPT"] = at(optDir)
		}
		// Nor are its locales. Source: setlocale(3), LOCPATH.
		if _, set := out["LOCPATH"]; !set && at(localeDir) != localeDir {
			out["LOCPATH"] = at(localeDir)
		}
	}
	return out
}
