package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	kafkaaws "github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/oauth2"

	"thaw/eventsource"
	"thaw/eventsource/secret"
)

// login makes the options that let one in. Whatever logs in does it over TLS, as the service has it.
func (d *Driver) login(ctx context.Context, m *eventsource.Mapping, secure bool) ([]kgo.Opt, error) {
	var mechanism sasl.Mechanism
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, a := range m.Source.Access {
		var err error
		switch a.Type {
		case "BASIC_AUTH", "SASL_SCRAM_256_AUTH", "SASL_SCRAM_512_AUTH":
			mechanism, err = d.password(ctx, a)
		case "IAM_AUTH":
			mechanism = d.iam(m.Region())
		case "CLIENT_CERTIFICATE_TLS_AUTH":
			err = d.certificate(ctx, a.URI, config)
		case "SERVER_ROOT_CA_CERTIFICATE":
			err = d.roots(ctx, a.URI, config)
		case "OAUTHBEARER_AUTH":
			mechanism = d.bearer(m, a.URI)
		case "IAM_OAUTHBEARER_AUTH":
			mechanism = d.identity(m)
		case "OAUTHBEARER_SCOPE", "OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL":
			continue // of the two above
		case "VPC_SUBNET", "VPC_SECURITY_GROUP":
			continue // networks of the service
		default:
			err = &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: a.Type + " is not something that this server can log in with."}
		}
		if err != nil {
			return nil, err
		}
		secure = true
	}
	var options []kgo.Opt
	if mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	if secure {
		options = append(options, kgo.DialTLSConfig(config))
	}
	return options, nil
}

func (d *Driver) password(ctx context.Context, a eventsource.Access) (sasl.Mechanism, error) {
	var s struct{ Username, Password string }
	if err := secret.Read(ctx, d.secrets, a.URI, &s); err != nil {
		return nil, err
	}
	switch a.Type {
	case "SASL_SCRAM_256_AUTH":
		return scram.Auth{User: s.Username, Pass: s.Password}.AsSha256Mechanism(), nil
	case "SASL_SCRAM_512_AUTH":
		return scram.Auth{User: s.Username, Pass: s.Password}.AsSha512Mechanism(), nil
	}
	return plain.Auth{User: s.Username, Pass: s.Password}.AsMechanism(), nil
}

// iam logs in with the server's own credentials of AWS, which are read for each connection: they expire.
func (d *Driver) iam(region string) sasl.Mechanism {
	return kafkaaws.ManagedStreamingIAM(func(ctx context.Context) (kafkaaws.Auth, error) {
		cfg, err := d.load(ctx, region)
		if err != nil {
			return kafkaaws.Auth{}, err
		}
		c, err := cfg.Credentials.Retrieve(ctx)
		return kafkaaws.Auth{AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, SessionToken: c.SessionToken, UserAgent: "thaw"}, err
	})
}

// bearer logs in with tokens that the secret's token endpoint gives. What it tells the cluster beside them are Confluent's
// words. Source: Confluent Cloud's documentation, OAuth for clients.
func (d *Driver) bearer(m *eventsource.Mapping, uri string) sasl.Mechanism {
	tokens := secret.OAuthTokens(d.secrets, secret.OAuth{URI: uri, Scope: m.Secret("OAUTHBEARER_SCOPE"), Audience: m.Secret("OAUTHBEARER_AUDIENCE")})
	beside := map[string]string{}
	for name, typ := range map[string]string{"logicalCluster": "OAUTHBEARER_LOGICAL_CLUSTER", "identityPoolId": "OAUTHBEARER_IDENTITY_POOL"} {
		if v := m.Secret(typ); v != "" {
			beside[name] = v
		}
	}
	return oauth.Oauth(func(ctx context.Context) (a oauth.Auth, err error) {
		a.Extensions = beside
		a.Token, err = tokens.Token(ctx)
		return a, err
	})
}

// identity logs in with tokens that AWS's STS gives about the one whose credentials the server has.
func (d *Driver) identity(m *eventsource.Mapping) sasl.Mechanism {
	tokens := secret.NewTokens(func(ctx context.Context) (*oauth2.Token, error) {
		cfg, err := d.load(ctx, m.Region())
		if err != nil {
			return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "AWS's configuration of the server cannot be read.", Err: err}
		}
		out, err := sts.NewFromConfig(cfg).GetWebIdentityToken(ctx, &sts.GetWebIdentityTokenInput{
			Audience: []string{m.Secret("OAUTHBEARER_AUDIENCE")}, SigningAlgorithm: aws.String("RS256"),
		})
		if err != nil {
			return nil, &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHN_ERROR",
				Text: "AWS's STS gives no web identity token for the server's credentials.", Err: err}
		}
		return &oauth2.Token{AccessToken: aws.ToString(out.WebIdentityToken), Expiry: aws.ToTime(out.Expiration)}, nil
	})
	return oauth.Oauth(func(ctx context.Context) (a oauth.Auth, err error) {
		a.Token, err = tokens.Token(ctx)
		return a, err
	})
}

var errKey = &eventsource.ProblemError{Code: "EVENT_SOURCE_AUTHN_ERROR", Text: "Provided certificate or private key is invalid"}

// certificate reads a chain and its key, which may be encrypted.
func (d *Driver) certificate(ctx context.Context, uri string, into *tls.Config) error {
	var s struct{ Certificate, PrivateKey, PrivateKeyPassword string }
	if err := secret.Read(ctx, d.secrets, uri, &s); err != nil {
		return err
	}
	key, err := secret.Key(s.PrivateKey, s.PrivateKeyPassword)
	if err != nil {
		return errKey
	}
	pair, err := tls.X509KeyPair([]byte(s.Certificate), key)
	if err != nil {
		return errKey
	}
	into.Certificates = []tls.Certificate{pair}
	return nil
}

func (d *Driver) roots(ctx context.Context, uri string, into *tls.Config) error {
	var s struct{ Certificate string }
	if err := secret.Read(ctx, d.secrets, uri, &s); err != nil {
		return err
	}
	pool, err := secret.Login{Roots: s.Certificate}.Pool()
	if err != nil || pool == nil {
		return errKey
	}
	into.RootCAs = pool
	return nil
}

// problem says in words why a cluster cannot be read. Source: section 6.7 for the phrases that it has.
func problem(err error) error {
	var known *eventsource.ProblemError
	if errors.As(err, &known) {
		return err
	}
	p := &eventsource.ProblemError{Text: "Connection error. The cluster cannot be reached.", Err: err}
	var untrusted x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var alert tls.AlertError
	var operation *net.OpError
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", "SASL authentication failed"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		p.Code, p.Text = "EVENT_SOURCE_AUTHZ_ERROR", "Cluster failed to authorize Lambda"
	case errors.As(err, &untrusted), errors.As(err, &wrongName):
		p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", "Lambda failed to authenticate server"
	case errors.As(err, &alert), errors.As(err, &operation) && operation.Op == "remote error":
		p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", "Server failed to authenticate Lambda"
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
		p.Code, p.Text = "ESM_CONFIG_NOT_VALID", "The topic does not exist."
	default:
		var k *kerr.Error
		if errors.As(err, &k) {
			p.Text = fmt.Sprintf("The cluster answers: %s", k.Message)
		}
	}
	return p
}

// sessionTimeout is when the cluster gives the partitions of a server that has died to another one.
const (
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = 3 * time.Second
)
