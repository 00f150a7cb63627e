package runtimes

import (
	"bufio"
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// registry is a base URL without a trailing slash, with the credentials for it.
type registry struct {
	url           string
	authorization string // header value, or empty
}

// authFor is the authorization for an address that the registry named: only for its own scheme and host, so that
// credentials go nowhere else.
func (r registry) authFor(address string) string {
	a, errA := url.Parse(address)
	b, errB := url.Parse(r.url)
	if errA != nil || errB != nil || a.Host != b.Host || a.Scheme != b.Scheme {
		return ""
	}
	return r.authorization
}

// withUserinfo moves user and password of a URL into an authorization header.
func withUserinfo(address string) registry {
	address = strings.TrimRight(address, "/")
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return registry{url: address}
	}
	password, _ := u.User.Password()
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	u.User = nil
	return registry{url: u.String(), authorization: auth}
}

// npmRegistry reads the registry and its credentials as npm does: environment, then the user's and the system's npmrc.
// Source: npm documentation, "config" and ".npmrc".
func npmRegistry(getenv func(string) string, home string) registry {
	settings := map[string]string{}
	files := []string{"/etc/npmrc", "/usr/etc/npmrc", filepath.Join(home, ".npmrc")}
	if own := firstOf(getenv("npm_config_userconfig"), getenv("NPM_CONFIG_USERCONFIG")); own != "" {
		files[2] = own
	}
	for _, path := range files {
		readSettings(path, func(_, key, value string) { settings[key] = os.Expand(value, getenv) })
	}
	r := withUserinfo(firstOf(getenv("npm_config_registry"), getenv("NPM_CONFIG_REGISTRY"), settings["registry"], "https://registry.npmjs.org"))
	if _, rest, ok := strings.Cut(r.url, "://"); ok {
		for _, scope := range []string{"//" + rest + "/:", "//" + rest + ":"} {
			if token := settings[scope+"_authToken"]; token != "" {
				r.authorization = "Bearer " + token
			} else if basic := settings[scope+"_auth"]; basic != "" {
				r.authorization = "Basic " + basic
			}
		}
	}
	return r
}

// pypiIndexes reads the package indexes as pip does: environment, then the user's and the system's configuration.
// Source: pip documentation, "Configuration".
func pypiIndexes(getenv func(string) string, home string) []registry {
	index, extra := "", ""
	configHome := firstOf(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	files := []string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", filepath.Join(home, ".pip", "pip.conf"), filepath.Join(configHome, "pip", "pip.conf")}
	if own := getenv("PIP_CONFIG_FILE"); own != "" {
		files = append(files, own)
	}
	for _, path := range files {
		readSettings(path, func(section, key, value string) {
			if section != "global" && section != "install" && section != "download" {
				return
			}
			switch strings.ReplaceAll(key, "_", "-") {
			case "index-url":
				index = value
			case "extra-index-url":
				extra = value
			}
		})
	}
	index = firstOf(getenv("PIP_INDEX_URL"), index, "https://pypi.org/simple")
	out := []registry{withUserinfo(index)}
	for _, e := range strings.Fields(firstOf(getenv("PIP_EXTRA_INDEX_URL"), extra)) {
		out = append(out, withUserinfo(e))
	}
	return out
}

// mavenRepository reads the mirror of Maven Central, and the credentials for it, from the user's or the installation's
// settings. Source: Maven documentation, "Settings Reference", mirrors and servers.
func mavenRepository(getenv func(string) string, home string) registry {
	files := []string{filepath.Join(home, ".m2", "settings.xml"), "/etc/maven/settings.xml"}
	for _, variable := range []string{"MAVEN_HOME", "M2_HOME"} {
		if v := getenv(variable); v != "" {
			files = append(files, filepath.Join(v, "conf", "settings.xml"))
		}
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var settings struct {
			Mirrors []struct {
				ID       string `xml:"id"`
				URL      string `xml:"url"`
				MirrorOf string `xml:"mirrorOf"`
			} `xml:"mirrors>mirror"`
			Servers []struct {
				ID       string `xml:"id"`
				Username string `xml:"username"`
				Password string `xml:"password"`
			} `xml:"servers>server"`
		}
		if xml.Unmarshal(b, &settings) != nil {
			continue
		}
		for _, m := range settings.Mirrors {
			if !mirrorsCentral(m.MirrorOf) || !strings.HasPrefix(m.URL, "http") {
				continue
			}
			r := withUserinfo(os.Expand(m.URL, mavenVariable(getenv)))
			for _, s := range settings.Servers {
				if s.ID == m.ID && s.Username != "" {
					user, password := os.Expand(s.Username, mavenVariable(getenv)), os.Expand(s.Password, mavenVariable(getenv))
					r.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
				}
			}
			return r
		}
	}
	return registry{url: "https://repo1.maven.org/maven2"}
}

// mirrorsCentral reads mirrorOf: "*", "central", "external:*", "*,!other".
func mirrorsCentral(mirrorOf string) bool {
	covers := false
	for _, part := range strings.Split(mirrorOf, ",") {
		switch strings.TrimSpace(part) {
		case "*", "central", "external:*":
			covers = true
		case "!central":
			return false
		}
	}
	return covers
}

// mavenVariable resolves ${env.NAME}.
func mavenVariable(getenv func(string) string) func(string) string {
	return func(name string) string { return getenv(strings.TrimPrefix(name, "env.")) }
}

// readSettings calls set for each "key = value" of an ini-like file, with the section it stands in. A missing file has none.
func readSettings(path string, set func(section, key, value string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	section := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			if key, value, ok := strings.Cut(line, "="); ok {
				set(section, strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"'`))
			}
		}
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
