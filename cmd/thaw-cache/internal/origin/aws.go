package origin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"thaw/cmd/thaw-cache/internal/cache"
)

// Service is one of AWS's that speaks JSON 1.1 and is asked with a signature. The two calls that are needed need no more of the
// SDK than its signer, and so the program stays small.
type Service struct {
	Client   *http.Client
	Name     string // in endpoints and signatures: ssm, secretsmanager
	Variable string // of its endpoint: AWS_ENDPOINT_URL_...
	Target   string // of X-Amz-Target
}

// SSM and SecretsManager are the services of the two kinds of values.
func SSM(client *http.Client) *Service {
	return &Service{client, "ssm", "AWS_ENDPOINT_URL_SSM", "AmazonSSM."}
}

func SecretsManager(client *http.Client) *Service {
	return &Service{client, "secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "secretsmanager."}
}

// endpoint is where the SDK finds the service, by its variables. Source: AWS SDKs and Tools Reference Guide, Service-specific
// endpoints.
func (s *Service) endpoint(region string) string {
	if !strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		for _, name := range []string{s.Variable, "AWS_ENDPOINT_URL"} {
			if at := os.Getenv(name); at != "" {
				return strings.TrimSuffix(at, "/") + "/"
			}
		}
	}
	suffix := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		suffix += ".cn"
	}
	return "https://" + s.Name + "." + region + "." + suffix + "/"
}

func region() string {
	if r := os.Getenv("AWS_REGION"); r != "" {
		return r
	}
	return os.Getenv("AWS_DEFAULT_REGION")
}

// Credentials are those of the environment. Under SnapStart they are asked for each time, because every copy has its own.
func Credentials(ctx context.Context, client *http.Client) (aws.Credentials, error) {
	at := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if at == "" {
		return aws.Credentials{
			AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return aws.Credentials{}, err
	}
	req.Header.Set("Authorization", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	resp, err := client.Do(req)
	if err != nil {
		return aws.Credentials{}, plain("no credentials", err)
	}
	defer resp.Body.Close()
	var out struct{ AccessKeyID, SecretAccessKey, Token string }
	body, err := whole(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &out) != nil {
		return aws.Credentials{}, &Error{http.StatusBadGateway, "no credentials: the environment answers " + strconv.Itoa(resp.StatusCode)}
	}
	return aws.Credentials{AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.Token}, nil
}

// final are the errors that are answers: what was asked for is not there, or not for us. After any other one the old value
// is given.
var final = map[string]bool{
	"ParameterNotFound": true, "ParameterVersionNotFound": true, "ResourceNotFoundException": true, "InvalidRequestException": true,
	"InvalidParameterException": true, "ValidationException": true, "AccessDeniedException": true, "DecryptionFailure": true,
	"InvalidKeyId": true,
}

// Get makes an operation a fetch. shape makes of its answer what AWS's own extension says.
func (s *Service) Get(operation string, input any, ttl time.Duration, shape func([]byte) ([]byte, error)) cache.Fetch {
	return func(ctx context.Context, _ *cache.Value) (*cache.Value, error) {
		status, body, err := s.call(ctx, operation, input)
		if err != nil {
			return nil, err
		}
		if status != http.StatusOK {
			var e struct {
				Type string `json:"__type"`
			}
			json.Unmarshal(body, &e) //nolint:errcheck // then it has no type
			if name := e.Type[strings.LastIndexByte(e.Type, '#')+1:]; final[name] {
				return &cache.Value{Status: status, ContentType: "application/json", Body: body}, nil
			}
			return nil, &Error{http.StatusBadGateway, s.Name + " answers " + strconv.Itoa(status)}
		}
		if body, err = shape(body); err != nil {
			return nil, &Error{http.StatusBadGateway, s.Name + "'s answer is not understood"}
		}
		return &cache.Value{Status: http.StatusOK, ContentType: "application/json", Body: body, TTL: ttl}, nil
	}
}

func (s *Service) call(ctx context.Context, operation string, input any) (int, []byte, error) {
	payload, err := json.Marshal(input)
	if err != nil {
		return 0, nil, err
	}
	creds, err := Credentials(ctx, s.Client)
	if err != nil {
		return 0, nil, err
	}
	where := region()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint(where), bytes.NewReader(payload))
	if err != nil {
		return 0, nil, &Error{http.StatusBadGateway, "the endpoint of " + s.Name + " is no URL"}
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", s.Target+operation)
	sum := sha256.Sum256(payload)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), s.Name, where, time.Now()); err != nil {
		return 0, nil, &Error{http.StatusBadGateway, "the call of " + s.Name + " cannot be signed"}
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return 0, nil, plain(s.Name+" does not answer", err)
	}
	defer resp.Body.Close()
	body, err := whole(resp.Body)
	return resp.StatusCode, body, err
}
