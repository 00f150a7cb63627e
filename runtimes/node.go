package runtimes

import (
	"path/filepath"
	"strings"
)

// nodeLocked plans a nodejsNN.x: our own client on a Node of that very major, from the data folder or the host's.
func (r *Registry) nodeLocked(identifier, major string) (parts, error) {
	var set mountSet
	binary, version, source := "", "", ""
	if dir, c, ok := r.installed("nodejs" + major); ok {
		binary, version, source = filepath.Join(dir, "bin", "node"), c.version(), "npm"
		set.add(dir, langDir)
	} else if path, v, ok := r.hostNodeLocked(major); ok {
		binary, version, source = path, v, "host"
		set.add(path, langDir+"/bin/node")
		// Debian's Node reads parts of itself from here.
		set.addSame("/usr/share/nodejs")
	} else {
		return parts{}, r.missing(identifier, "Node.js "+major, "nodejs"+major)
	}
	if err := set.base(); err != nil {
		return parts{}, err
	}
	if err := set.program(binary); err != nil {
		return parts{}, err
	}
	if source != "host" {
		if err := lacksLibrary(identifier, "Node.js "+major, set.missing); err != nil {
			return parts{}, err
		}
	}
	sdk := r.sdk(nodeSDK)
	client, err := r.nodeClient(sdk)
	if err != nil {
		return parts{}, err
	}
	set.add(client, runtimeDir)
	vars := managedVars()
	vars["NODE_PATH"] = "/opt/nodejs/node" + major + "/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
	p := parts{
		plan: Plan{
			Identifier: identifier,
			Release:    "nodejs:" + major + ".v1",
			Argv:       []string{langDir + "/bin/node", runtimeDir + "/index.cjs"},
			MemoryArgv: nodeMemory,
			// As an option of the process, so that workers inherit it.
			SnapStartArgv: []string{"--require", runtimeDir + "/unique.cjs"},
			SeedArgv:      nodeSeeds,
			Mounts:        set.sorted(),
			Vars:          vars,
			Reserved:      map[string]string{"AWS_EXECUTION_ENV": "AWS_Lambda_" + identifier},
			LogFrames:     true, APISocket: true, ParksInRestore: true,
		},
		interpreter: binary, interpreterVersion: version, interpreterSource: source,
		client: "thaw's own", clientVersion: client[strings.LastIndex(client, "-")+1:], clientSource: "thaw",
		libraries: set.libraries,
	}
	p.setSDK(r, nodeSDK, "AWS SDK for JavaScript", "npm")
	return p, nil
}

// hostNodeLocked finds a Node of this major on the host.
func (r *Registry) hostNodeLocked(major string) (path, version string, ok bool) {
	patterns := []string{"~/.nvm/versions/node/v" + major + ".*/bin/node", "~/.local/share/fnm/node-versions/v" + major + ".*/installation/bin/node",
		"/opt/node-v" + major + ".*/bin/node"}
	for _, path := range onPath([]string{"node", "nodejs"}, patterns) {
		answer, err := r.askLocked(path, "--version")
		if v := strings.TrimPrefix(answer, "v"); err == nil && strings.HasPrefix(v, major+".") {
			return path, v, true
		}
	}
	return "", "", false
}
