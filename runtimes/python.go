package runtimes

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
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
	facts, ok := r.hostPythonLocked(version)
	if !ok {
		return parts{}, &NotInstalledError{Identifier: identifier, Missing: "Python " + version, Install: "apt-get install python" + version}
	}
	dir, c, ok := r.installed("python" + version)
	if !ok {
		return parts{}, &NotInstalledError{Identifier: identifier, Missing: "AWS's client for Python " + version,
			Install: "thaw runtime install " + identifier}
	}
	client, err := r.pythonClient(facts, dir)
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
	if err := set.program(facts.Executable); err != nil {
		return parts{}, err
	}
	set.add(client, runtimeDir)
	vars := managedVars()
	vars["PYTHONPATH"] = runtimeDir
	return parts{
		plan: Plan{
			Identifier:  identifier,
			Release:     "python:" + version + ".v1",
			Argv:        []string{inside, runtimeDir + "/bootstrap.py"},
			Mounts:      set.sorted(),
			Vars:        vars,
			Reserved:    map[string]string{"AWS_EXECUTION_ENV": "AWS_Lambda_" + identifier},
			LogFrames:   true,
			HandlerArgv: false, ParksInRestore: true,
			SeedVars: pythonSeeds,
		},
		interpreter: facts.Executable, interpreterVersion: facts.Version, interpreterSource: "host",
		client: "awslambdaric", clientVersion: c.version(), clientSource: "PyPI",
		libraries: set.libraries,
	}, nil
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
		answer, err := r.askLocked(path, "-I", "-c", pythonQuestion)
		if err != nil {
			continue // pyenv's shims end so when the version is not chosen
		}
		var facts pythonFacts
		if err := json.Unmarshal([]byte(answer), &facts); err != nil || !strings.HasPrefix(facts.Version, version+".") {
			continue
		}
		return facts, true
	}
	return pythonFacts{}, false
}
