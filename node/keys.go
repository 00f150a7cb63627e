package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Keys are the access keys that requests may be signed with, secret by access key ID. An empty map means that none is
// configured and every key is accepted as given. The file is read at each call.
func (c *Config) Keys() (map[string]string, error) {
	keys := map[string]string{}
	if c.AccessKeyID != "" {
		keys[c.AccessKeyID] = c.SecretAccessKey
	}
	if c.Credentials == "" {
		return keys, nil
	}
	info, err := os.Stat(c.Credentials)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("credentials: %s can be read by others; type: chmod 600 %s", c.Credentials, c.Credentials)
	}
	text, err := os.ReadFile(c.Credentials)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	found, err := parseCredentials(string(text))
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", c.Credentials, err)
	}
	for id, secret := range found {
		keys[id] = secret
	}
	return keys, nil
}

// parseCredentials reads the shared credentials file of the AWS clients: sections of aws_access_key_id and
// aws_secret_access_key; other names are skipped. No text of the file gets into an error.
// Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".
func parseCredentials(text string) (map[string]string, error) {
	keys := map[string]string{}
	section, id, secret := "", "", ""
	done := func() error {
		if (id == "") != (secret == "") {
			return fmt.Errorf("section [%s] has one of aws_access_key_id and aws_secret_access_key", section)
		}
		if other, twice := keys[id]; twice && other != secret {
			return fmt.Errorf("section [%s] repeats an access key with another secret", section)
		}
		if id != "" {
			keys[id] = secret
		}
		id, secret = "", ""
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			if line[len(line)-1] != ']' {
				return nil, fmt.Errorf("line %d: a section without its closing bracket", i+1)
			}
			if err := done(); err != nil {
				return nil, err
			}
			section = strings.TrimSpace(line[1 : len(line)-1])
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, fmt.Errorf("line %d: not of the form name = value", i+1)
			}
			switch strings.TrimSpace(name) {
			case "aws_access_key_id":
				id = strings.TrimSpace(value)
			case "aws_secret_access_key":
				secret = strings.TrimSpace(value)
			}
		}
	}
	if err := done(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("no access key in it")
	}
	return keys, nil
}
