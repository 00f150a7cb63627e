// Package secret finds what the SourceAccessConfigurations of event source mappings name: a file of the server named like
// the secret, or else a secret of Secrets Manager, or of what stands for it (internal/awsconfig).
//
// A secret is named by its ARN or by its plain name. arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/kafka-a1B2c3
// is the file prod/kafka, or prod/kafka-a1B2c3: the service adds six characters to a name.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"thaw/eventsource"
	"thaw/internal/awsconfig"
)

// Finder implements eventsource.Secrets.
type Finder struct {
	Dir string // of files; it need not be there
}

var _ eventsource.Secrets = (*Finder)(nil)

// maxSecret is the most that Secrets Manager holds. Source: its API reference, SecretString.
const maxSecret = 64 << 10

// Secret implements eventsource.Secrets.
func (f *Finder) Secret(ctx context.Context, uri string) ([]byte, error) {
	name, region := uri, ""
	if parts := strings.SplitN(uri, ":", 7); len(parts) == 7 && parts[0] == "arn" {
		name, region = parts[6], parts[3]
	}
	for _, file := range names(name) {
		b, err := f.file(file)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, f.problem(uri, err)
		}
	}
	cfg, err := awsconfig.Load(ctx, region)
	if err != nil {
		return nil, f.problem(uri, err)
	}
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &uri})
	if err != nil {
		return nil, f.problem(uri, err)
	}
	if out.SecretString != nil {
		return []byte(aws.ToString(out.SecretString)), nil
	}
	return out.SecretBinary, nil
}

// names are the files that a secret may be in.
func names(name string) []string {
	all := []string{name}
	if i := len(name) - 7; i > 0 && name[i] == '-' {
		all = append(all, name[:i])
	}
	return all
}

func (f *Finder) file(name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fs.ErrNotExist
	}
	file, err := os.OpenInRoot(f.Dir, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no file", name), err)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = fmt.Errorf("more than %d bytes", maxSecret)
	}
	return b, err
}

func (f *Finder) problem(uri string, err error) error {
	return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Err: err,
		Text: fmt.Sprintf("The secret %s cannot be read. Put it into a file of its name in %s, or make it in Secrets Manager.", uri, f.Dir)}
}
