package runtimes

import (
	"slices"
	"strings"
)

// identifiers are the values of the API's Runtime enumeration, the retired ones too, so that an unknown name can be told from one
// that merely has no interpreter here.
// Source: the API model of the AWS SDKs, Runtime.
var identifiers = []string{
	"nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x",
	"nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x",
	"python2.7", "python3.6", "python3.7", "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13",
	"python3.14", "python3.15",
	"java8", "java8.al2", "java8.al2023", "java11", "java11.al2023", "java17", "java17.al2023", "java21", "java25",
	"dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet6", "dotnet8", "dotnet10",
	"go1.x",
	"ruby2.5", "ruby2.7", "ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0",
	"provided", "provided.al2", "provided.al2023",
}

// family says who serves an identifier.
type family int

const (
	unserved family = iota // known to the API, but nothing here serves it
	nodejs
	python
	java
	provided
)

// lookup splits an identifier: nodejs22.x is (nodejs, "22"), python3.12 is (python, "3.12"), java17.al2023 is (java, "17").
func lookup(identifier string) (f family, version string, known bool) {
	if !slices.Contains(identifiers, identifier) {
		return unserved, "", false
	}
	switch {
	case strings.HasPrefix(identifier, "nodejs") && strings.HasSuffix(identifier, ".x"):
		version = strings.TrimSuffix(strings.TrimPrefix(identifier, "nodejs"), ".x")
		// Our client is written for Node 18 and later.
		if len(version) == 2 && version >= "18" {
			return nodejs, version, true
		}
	case strings.HasPrefix(identifier, "python3."):
		version = strings.TrimPrefix(identifier, "python")
		if version != "3.6" && version != "3.7" { // AWS's client has no wheels for them that can be pinned together
			return python, version, true
		}
	case strings.HasPrefix(identifier, "java"):
		version, _, _ = strings.Cut(strings.TrimPrefix(identifier, "java"), ".")
		return java, version, true
	case strings.HasPrefix(identifier, "provided"):
		return provided, "", true
	}
	return unserved, "", true
}
