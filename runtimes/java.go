package runtimes

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// javaLocked plans a javaNN: a JDK or JRE of that release, relocated to /var/lang, and AWS's client.
func (r *Registry) javaLocked(identifier, version string) (parts, error) {
	home, full, ok := hostJava(version)
	source := "host"
	if !ok {
		if home, _, ok = r.installed("jdk" + version); !ok {
			return parts{}, r.missing(identifier, "Java "+version, "jdk"+version)
		}
		full, source = javaVersion(home), "PyPI"
	}
	dir, c, ok := r.installed("java")
	if !ok {
		return parts{}, r.missing(identifier, "AWS's client for Java", "java")
	}
	var set mountSet
	if err := set.base(); err != nil {
		return parts{}, err
	}
	set.add(home, langDir)
	client, err := r.javaClient(dir)
	if err != nil {
		return parts{}, err
	}
	set.add(client, runtimeDir)
	// Debian's JDK links its configuration to /etc.
	for _, link := range []string{"conf/net.properties", "conf/security/java.security", "lib/security/default.policy"} {
		to, err := os.Readlink(filepath.Join(home, link))
		if rest, ok := strings.CutPrefix(to, "/etc/"); err == nil && ok {
			name, _, _ := strings.Cut(rest, "/")
			set.addSame("/etc/" + name)
		}
	}
	binary := filepath.Join(home, "bin", "java")
	if err := set.program(binary); err != nil {
		return parts{}, err
	}
	if source != "host" {
		if err := lacksLibrary(identifier, "Java "+version, set.missing); err != nil {
			return parts{}, err
		}
	}
	return parts{
		plan: Plan{
			Identifier: identifier,
			Release:    "java:" + version + ".v1",
			Argv: []string{langDir + "/bin/java",
				"-XX:+UseSerialGC", "-XX:+TieredCompilation", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
				// Without it org.crac finds no context, says nothing, and no hook ever runs. Classes of the client's
				// folder come before the function's own, so org.crac is the whole of its last release there: Spring
				// registers hooks wherever it sees org.crac.Core, and then needs org.crac.management. The releases
				// differ in nothing else, so that a function's own copy, older or the same, works as well.
				"-Dorg.crac.Core.Compat=com.amazonaws.services.lambda.crac",
				"-cp", runtimeDir + "/lib/*", "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"},
			MemoryArgv:    javaMemory,
			SnapStartArgv: javaSnapStart(version),
			HandlerArgv:   true,
			Mounts:        set.sorted(),
			Vars:          managedVars(),
			Reserved:      map[string]string{"AWS_EXECUTION_ENV": "AWS_Lambda_" + identifier},
			LogFrames:     true, ParksInRestore: true,
		},
		interpreter: binary, interpreterVersion: full, interpreterSource: source,
		client: "aws-lambda-java-runtime-interface-client", clientVersion: c.version(), clientSource: "Maven Central",
		libraries: set.libraries,
	}, nil
}

// javaAgent is our agent in the client's folder. What it does is told in runtimes/java.
const javaAgent = "thaw-snapstart.jar"

// javaSnapStart: the agent needs modules. Generators of random numbers that a program first uses after a restore must not seed themselves from
// the clocks, which copies share; the property is for that. Source: java.util.SplittableRandom, "java.util.secureRandomSeed".
func javaSnapStart(version string) []string {
	if version == "8" {
		return nil
	}
	return []string{"-javaagent:" + runtimeDir + "/" + javaAgent, "-Djava.util.secureRandomSeed=true"}
}

// javaMemory leaves the JVM's own needs 15% of the memory, as recorded from the service's command line (-Xmx445645k of 512 MB).
// Without it the JVM would take a quarter of the host's memory.
func javaMemory(memoryMiB int) []string {
	return []string{fmt.Sprintf("-Xmx%dk", memoryMiB*1024*85/100)}
}

// hostJava finds the home of a Java of this release: JAVA_HOME, the java on PATH, or where distributions put them.
func hostJava(release string) (home, full string, ok bool) {
	homes := []string{os.Getenv("JAVA_HOME")}
	for _, binary := range onPath([]string{"java"}, []string{"~/.sdkman/candidates/java/*/bin/java"}) {
		homes = append(homes, filepath.Dir(filepath.Dir(binary)))
	}
	for _, pattern := range []string{"/usr/lib/jvm/*", "/opt/java/*", "/opt/jdk-*"} {
		found, _ := filepath.Glob(pattern)
		homes = append(homes, found...)
	}
	var seen []string
	for _, h := range homes {
		real, err := filepath.EvalSymlinks(h)
		if h == "" || err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		v := javaVersion(real)
		major, _, _ := strings.Cut(strings.TrimPrefix(v, "1."), ".")
		if major == release && isFile(filepath.Join(real, "bin", "java")) {
			return real, v, true
		}
	}
	return "", "", false
}

// javaVersion reads JAVA_VERSION from a home's release file: 17.0.15, 1.8.0_402; empty when there is none.
func javaVersion(home string) string {
	f, err := os.Open(filepath.Join(home, "release"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "JAVA_VERSION="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}
