// Package awsconfig is how the server calls other services of AWS, or what stands for them: with the SDK's own
// configuration. Credentials, profiles and endpoints (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS ...) come from where every
// other client of AWS has them from.
package awsconfig

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"thaw/internal/wholebody"
)

// Load reads the configuration for a region; the empty one is the SDK's own.
func Load(ctx context.Context, region string) (aws.Config, error) {
	var o []func(*config.LoadOptions) error
	if region != "" {
		o = append(o, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, o...)
	if err != nil {
		return cfg, fmt.Errorf("configuration of AWS's SDK: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // of S3, whose ARNs have none
	}
	cfg.HTTPClient = wholebody.Client(cfg.HTTPClient)
	return cfg, nil
}

// S3 returns a client of S3. What stands behind an endpoint of one's own has names for hosts, not for buckets.
func S3(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil
		o.DisableLogOutputChecksumValidationSkipped = true // of each object that has none
	})
}

// Endpoint is the endpoint of one's own that a service has by the SDK's rules; empty: none. It is for services that no
// client of the SDK is asked for.
func Endpoint(ctx context.Context, cfg aws.Config, service string) string {
	for _, source := range cfg.ConfigSources {
		if s, ok := source.(interface {
			GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error)
		}); ok {
			if ignored, found, err := s.GetIgnoreConfiguredEndpoints(ctx); err == nil && found && ignored {
				return ""
			}
		}
	}
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		})
		if !ok {
			continue
		}
		if endpoint, found, err := s.GetServiceBaseEndpoint(ctx, service); err == nil && found && endpoint != "" {
			return endpoint
		}
	}
	return aws.ToString(cfg.BaseEndpoint)
}
