package runtimes

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pythonFacts is what an interpreter tells about itself.
type pythonFacts struct {
	Version    string `json:"version"`    // 3.11.7
	Executable string `json:"executable"` // not a shim, not a virtual environment's link
	Prefix     string `json:"prefix"`     // /usr, or a folder of its own
	Stdlib     string `json:"stdlib"`     // PREFIX/lib/python3.11
	Platstdlib string `json:"platstdlib"` // where compiled modules are; mostly the same
}

const pythonQuestion = `import json, os, sys, sysconfig
print(json.dumps({
    "version": ".".join(map(str, sys.version_info[:3])),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}),
    "platstdlib": sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}),
}))`

// pythonLocked plans a python3.X: the host's interpreter of that version, relocated to /var/lang, and AWS's client.
func (r *Registry) pythonLocked(identifier, version string) (parts, error) {
	facts, source, ok := r.pythonInterpreterLocked(version)
	if !ok {
		if dir, _, here := r.installed("cpython" + version); here {
			return parts{}, &NotInstalledError{Identifier: identifier, Missing: "a Python " + version + " that starts here", Hint: dir + "/bin/python" + version + " says why"}
		}
		return parts{}, r.missing(identifier, "Python "+version, "cpython"+version)
	}
	dir, c, ok := r.installed("python" + version)
	if !ok {
		return parts{}, r.missing(identifier, "AWS's client for Python "+version, "python"+version)
	}
	sdk := r.sdk(pythonSDK(version))
	client, err := r.pythonClient(facts, dir, sdk)
	if err != nil {
		return parts{}, err
	}
	var set mountSet
	if err := set.base(); err != nil {
		return parts{}, err
	}
	inside := langDir + "/bin/python" + version
	if own := facts.Prefix != "/usr" && facts.Prefix != "/usr/local" && strings.HasPrefix(facts.Executable, facts.Prefix+"/"); own {
		set.add(facts.Prefix, langDir)
		inside = langDir + strings.TrimPrefix(facts.Executable, facts.Prefix)
	} else {
		// Out of a prefix shared with the rest of the system, the interpreter and its library only. It finds its library by looking
		// beside itself, so both may stand anywhere together.
		set.add(facts.Executable, inside)
		for _, lib := range []string{facts.Stdlib, facts.Platstdlib} {
			rel, err := filepath.Rel(facts.Prefix, lib)
			if err != nil || strings.HasPrefix(rel, "..") {
				return parts{}, fmt.Errorf("library %s of %s lies outside of %s", lib, facts.Executable, facts.Prefix)
			}
			set.add(lib, filepath.Join(langDir, rel))
		}
	}
	if source == "host" {
		if err := r.hideSitePackages(&set, facts); err != nil {
			return parts{}, err
		}
	}
	if err := set.program(facts.Executable); err != nil {
		return parts{}, err
	}
	set.add(client, runtimeDir)
	vars := managedVars()
	vars["PYTHONPATH"] = runtimeDir
	if certificates := hostCertificates(); source != "host" && certificates != "" {
		vars["SSL_CERT_FILE"] = certificates // its OpenSSL looks where it was built
	}
	p := parts{
		plan: Plan{
			Identifier:  identifier,
			Release:     "python:" + version + ".v1",
			Argv:        []string{inside, "-s", runtimeDir + "/bootstrap.py"}, // without what the user has installed for himself
			Mounts:      set.sorted(),
			Vars:        vars,
			Reserved:    map[string]string{"AWS_EXECUTION_ENV": "AWS_Lambda_" + identifier},
			LogFrames:   true,
			HandlerArgv: false, ParksInRestore: true,
			SeedVars: pythonSeeds,
		},
		interpreter: facts.Executable, interpreterVersion: facts.Version, interpreterSource: source,
		client: "awslambdaric", clientVersion: c.version(), clientSource: "PyPI",
		libraries: set.libraries,
	}
	p.setSDK(r, pythonSDK(version), "boto3", "PyPI")
	return p, nil
}

// hideSitePackages puts an empty folder where an interpreter of the host's has the packages that the host's users have
// installed: a function must not find what it would not find elsewhere.
func (r *Registry) hideSitePackages(set *mountSet, facts pythonFacts) error {
	empty := filepath.Join(r.dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return err
	}
	for _, lib := range []string{facts.Stdlib, facts.Platstdlib} {
		for _, name := range []string{"site-packages", "dist-packages"} {
			rel, err := filepath.Rel(facts.Prefix, filepath.Join(lib, name))
			if err == nil && isFolder(filepath.Join(lib, name)) {
				set.add(empty, filepath.Join(langDir, rel))
			}
		}
	}
	return nil
}

// hostCertificates is the file of the authorities that this host trusts; empty: none was found. It is among sharedData.
func hostCertificates() string {
	for _, path := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"} {
		if isFile(path) {
			return path
		}
	}
	return ""
}

// pythonInterpreterLocked is the host's interpreter of a version, else the one that was fetched.
func (r *Registry) pythonInterpreterLocked(version string) (facts pythonFacts, source string, ok bool) {
	if facts, ok := r.hostPythonLocked(version); ok {
		return facts, "host", true
	}
	dir, _, ok := r.installed("cpython" + version)
	if !ok {
		return pythonFacts{}, "", false
	}
	facts, ok = r.pythonFactsLocked(filepath.Join(dir, "bin", "python"+version), version)
	return facts, "Maven Central", ok
}

// pythonFactsLocked asks an interpreter about itself. It is not ok when it is not of this version.
func (r *Registry) pythonFactsLocked(path, version string) (facts pythonFacts, ok bool) {
	answer, err := r.askLocked(path, "-I", "-c", pythonQuestion)
	if err != nil {
		return pythonFacts{}, false // pyenv's shims end so when the version is not chosen
	}
	err = json.Unmarshal([]byte(answer), &facts)
	return facts, err == nil && strings.HasPrefix(facts.Version, version+".")
}

// pythonSeeds fix how Python's tables hash text. Source: Python's documentation, PYTHONHASHSEED: a decimal number of 32 bits.
func pythonSeeds(secret []byte) map[string]string {
	return map[string]string{"PYTHONHASHSEED": strconv.FormatUint(uint64(binary.BigEndian.Uint32(secret)|1), 10)} // 0 would be no randomisation
}

// hostPythonLocked finds an interpreter of this version (3.11) on the host: on PATH, where pyenv keeps them, or in a virtual
// environment, of which it takes the interpreter underneath.
func (r *Registry) hostPythonLocked(version string) (pythonFacts, bool) {
	names := []string{"python" + version}
	patterns := []string{"~/.pyenv/versions/" + version + ".*/bin/python" + version, "/opt/python" + version + "*/bin/python" + version,
		"~/.local/share/uv/python/cpython-" + version + ".*/bin/python" + version}
	for _, path := range onPath(names, patterns) {
		if facts, ok := r.pythonFactsLocked(path, version); ok {
			return facts, true
		}
	}
	return pythonFacts{}, false
}
