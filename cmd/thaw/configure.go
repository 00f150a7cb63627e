package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"thaw/node"
)

// configured is what -o json prints.
type configured struct {
	Profile         string `json:"profile"`
	Endpoint        string `json:"endpoint"`
	Region          string `json:"region"`
	ConfigFile      string `json:"configFile"`
	CredentialsFile string `json:"credentialsFile"`
}

func configureCommand(a *app) *cobra.Command {
	var (
		t       target
		profile string
	)
	cmd := &cobra.Command{
		Use:   "configure",
		Short: "Write a profile for AWS's clients",
		Long: `Writes a profile with the server's URL, a region and an access key into the files of AWS's clients, so that aws --profile thaw and
programs with AWS_PROFILE=thaw talk to this server. Other profiles, and what else stands in this one, stay as they are.

The files are ~/.aws/config and ~/.aws/credentials, or what AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name. The key is the first of
the server's credentials; a server without any takes every key. Clients read the URL from a profile since AWS CLI 2.13 and 1.29,
boto3 1.28, and the SDKs of 2023; older ones need --endpoint-url.`,
		Args:    args(cobra.NoArgs),
		Example: "thaw configure --profile thaw --region eu-central-1 --endpoint http://127.0.0.1:9600",
	}
	cmd.Flags().StringVar(&profile, "profile", "thaw", "name of the profile")
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if profile == "" || strings.ContainsAny(profile, "[]\n\r#; \t") {
			return misuse{fmt.Errorf("--profile %q is no name of a profile", profile)}
		}
		server, err := a.reach(cmd, t)
		if err != nil {
			return err
		}
		if keys, err := server.config.Keys(); err == nil && len(keys) == 0 && server.Client != nil {
			if h, err := server.Health(cmd.Context()); err == nil && h.Signed {
				return misuse{errors.New("the server has keys of its own: thaw key add USER --policy FILE makes one, and prints a profile for ~/.aws/credentials")}
			}
		}
		out, err := writeProfile(profile, server.endpoint, cmp.Or(t.region, region()), server.config)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "profile %s: %s in %s, its key in %s\n", out.Profile, out.Endpoint, out.ConfigFile, out.CredentialsFile)
			fmt.Fprintf(a.words, "\nNext:\n  aws --profile %s lambda list-functions\n", out.Profile)
		})
	}
	return cmd
}

// writeProfile writes both files of AWS's clients, the one with the key first: a profile that is there is whole.
func writeProfile(profile, endpoint, region string, c node.Config) (configured, error) {
	out := configured{Profile: profile, Endpoint: endpoint, Region: region}
	// Not the key of AWS's own variables: that may be one that opens an account, and the profile is for this server.
	id, secret := "thaw", "thaw"
	keys, err := c.Keys()
	if err != nil {
		return out, err
	}
	if len(keys) > 0 {
		if id, secret, err = accessKey(c); err != nil {
			return out, err
		}
	}
	if out.CredentialsFile, err = awsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials"); err != nil {
		return out, err
	}
	if out.ConfigFile, err = awsFile("AWS_CONFIG_FILE", "config"); err != nil {
		return out, err
	}
	section := "profile " + profile
	if profile == "default" {
		section = profile
	}
	return out, errors.Join(
		editFile(out.CredentialsFile, profile, []setting{{"aws_access_key_id", id}, {"aws_secret_access_key", secret}}),
		editFile(out.ConfigFile, section, []setting{{"region", region}, {"endpoint_url", endpoint}}))
}

// awsFile is a file of AWS's clients. Source: AWS SDKs and Tools Reference Guide, "Location of the shared config and
// credentials files".
func awsFile(variable, name string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%s file: %w", name, err)
	}
	return filepath.Join(home, ".aws", name), nil
}

// editFile changes one section of a file. It is written beside and renamed, so that it is never half there; a link stays one.
func editFile(path, section string, settings []setting) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("profile: %w", err)
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".thaw-*")
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	_, err = f.WriteString(editSection(string(text), section, settings))
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// setting is one line of a section.
type setting struct{ name, value string }

// editSection gives a section of an INI text these settings; it is appended when there is none. Everything else stays
// as it is, byte for byte.
func editSection(text, section string, settings []setting) string {
	var out strings.Builder
	left := append([]setting(nil), settings...)
	inside, found := false, false
	end := 0 // of the section's last line that says something
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "["):
			name, _, _ := strings.Cut(strings.TrimPrefix(trimmed, "["), "]")
			inside = !found && strings.Join(strings.Fields(name), " ") == section
			found = found || inside
		case inside && line == strings.TrimLeft(line, " \t"): // an indented line belongs to the setting before it
			name, _, _ := strings.Cut(trimmed, "=")
			for i, s := range left {
				if strings.TrimSpace(name) == s.name {
					line = s.name + " = " + s.value + "\n"
					left = append(left[:i:i], left[i+1:]...)
					break
				}
			}
		}
		if inside && trimmed != "" && !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		out.WriteString(line)
		if inside && trimmed != "" {
			end = out.Len()
		}
	}
	written := out.String()
	var add strings.Builder
	if !found {
		if end = len(written); end > 0 {
			add.WriteString(strings.Repeat("\n", 1+min(1, 1-strings.Count(written[end-1:], "\n"))))
		}
		fmt.Fprintf(&add, "[%s]\n", section)
	}
	for _, s := range left {
		fmt.Fprintf(&add, "%s = %s\n", s.name, s.value)
	}
	return written[:end] + add.String() + written[end:]
}
