package runtimes

import "strings"

// providedLocked plans the OS-only runtimes: the function, or a layer, brings a bootstrap.
func (r *Registry) providedLocked(identifier string) (parts, error) {
	var set mountSet
	if err := set.base(); err != nil {
		return parts{}, err
	}
	release := strings.TrimPrefix(identifier, "provided")
	return parts{
		plan: Plan{
			Identifier: identifier,
			Release:    "provided:" + strings.TrimPrefix(release+".v1", "."),
			// Source: AWS Lambda Developer Guide, "Building a custom runtime": package root, then layers.
			Candidates: []string{taskDir + "/bootstrap", "/opt/bootstrap"},
			Mounts:     set.sorted(),
			Vars:       providedVars(),
			// No AWS_EXECUTION_ENV: recorded so.
			Reserved: map[string]string{},
		},
		client:       "bootstrap",
		clientSource: "function",
		libraries:    set.libraries,
	}, nil
}
