package controlplane

import (
	"errors"
	"slices"
	"strings"

	"thaw/runtimes"
)

// namedRuntimes is the set that the service prints when a runtime is unknown, whatever it has accepted since. Source:
// recorded answers.
var namedRuntimes = []string{
	"nodejs20.x", "python3.14", "nodejs16.x", "nodejs18.x", "nodejs22.x", "nodejs24.x",
	"python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13",
	"java8.al2", "java11", "java17", "java21", "java25",
	"dotnet6", "dotnet8", "dotnet10", "ruby3.2", "ruby3.3", "ruby3.4", "provided.al2", "provided.al2023",
}

// deprecatedRuntimes were accepted once. Source: recorded answers.
var deprecatedRuntimes = []string{
	"dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "go1.x", "java8", "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10",
	"nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "provided", "python2.7", "python3.6", "python3.7", "ruby2.5", "ruby2.7",
}

// laterRuntimes came after the recordings. Source: the change log of the Go SDK.
var laterRuntimes = []string{"nodejs26.x", "python3.15", "java8.al2023", "java11.al2023", "java17.al2023", "ruby4.0"}

// RuntimeName says whether the service has, or had, a runtime of this name.
func RuntimeName(name string) bool {
	return slices.Contains(namedRuntimes, name) || slices.Contains(laterRuntimes, name) || slices.Contains(deprecatedRuntimes, name)
}

// RuntimeNames is the set that the service prints when a runtime is unknown.
func RuntimeNames() string { return strings.Join(namedRuntimes, ", ") }

// UnknownRuntime refuses a runtime that nothing can be done about.
func UnknownRuntime(name string) *Refusal {
	if slices.Contains(deprecatedRuntimes, name) {
		return invalid("The runtime parameter of %s is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.", name)
	}
	return invalid("Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or be a valid ARN", name, strings.Join(namedRuntimes, ", "))
}

// knownRuntime refuses identifiers that nothing can be done about. One that is only not installed is accepted: the
// function becomes Failed and says what to type.
func (p *Plane) knownRuntime(name, architecture string) error {
	var unknown *runtimes.UnknownError
	if err := p.Runtimes.Check(name, architecture); errors.As(err, &unknown) {
		return UnknownRuntime(name)
	}
	return nil
}
