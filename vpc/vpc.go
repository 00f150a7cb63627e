// Package vpc asks EC2 about the subnets and security groups that functions name. Where EC2 is, and with which
// credentials it is asked, is the SDK's own configuration of the server: AWS_ENDPOINT_URL_EC2, AWS_ENDPOINT_URL, profiles.
// Without an endpoint of one's own nobody is asked: the names of somebody who has no EC2 are as good as any.
//
// AWS's client of EC2 would make the server larger by a third and its build longer by minutes, for two requests of a
// form and an answer in XML. So the requests are made here, and signed by the SDK.
package vpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"thaw/controlplane"
	"thaw/internal/awsconfig"
)

const (
	// patience bounds one question. Clients of ours wait for the answer.
	patience = 10 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 20
	// apiVersion is the one there is. Source: EC2 API Reference.
	apiVersion = "2016-11-15"
)

// Lookup implements controlplane.Networks. Its zero value has no log; it needs no end.
type Lookup struct{ Log *slog.Logger }

// Find implements controlplane.Networks.
func (l *Lookup) Find(ctx context.Context, region string, subnets, groups []string) (vpcID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cfg, err := awsconfig.Load(ctx, region)
	if err != nil {
		return "", l.unasked(err)
	}
	endpoint := awsconfig.Endpoint(ctx, cfg, "EC2")
	if endpoint == "" {
		return "", nil
	}
	for _, q := range []struct {
		action, member string
		ids            []string
	}{{"DescribeSubnets", "SubnetId", subnets}, {"DescribeSecurityGroups", "GroupId", groups}} {
		if len(q.ids) == 0 {
			continue
		}
		form := url.Values{"Action": {q.action}, "Version": {apiVersion}}
		for i, id := range q.ids {
			form.Set(q.member+"."+strconv.Itoa(i+1), id)
		}
		found, err := ask(ctx, cfg, endpoint, q.action, form)
		if refused := (*controlplane.NetworkError)(nil); errors.As(err, &refused) {
			return "", err
		}
		if err != nil {
			return "", l.unasked(err)
		}
		if len(found.Subnets) > 0 {
			vpcID = found.Subnets[0].VPC
		}
	}
	return vpcID, nil
}

// unasked is for what is no answer of EC2: that keeps nobody from changing a function, as without an endpoint.
func (l *Lookup) unasked(err error) error {
	l.Log.Warn("subnets and security groups are taken unchecked: EC2 does not say what it knows of them", "error", err)
	return nil
}

// answer is as much of EC2's answers as matters here.
type answer struct {
	Subnets []struct {
		VPC string `xml:"vpcId"`
	} `xml:"subnetSet>item"`
	Errors []struct {
		Code    string
		Message string
	} `xml:"Errors>Error"`
}

// ask sends one request. A *controlplane.NetworkError is EC2's own word.
func ask(ctx context.Context, cfg aws.Config, endpoint, action string, form url.Values) (*answer, error) {
	body := form.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("credentials for EC2: %w", err)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, keys, r, hex.EncodeToString(sum[:]), "ec2", cfg.Region, time.Now()); err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	var a answer
	if err := xml.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("EC2 at %s answers %s: %w", endpoint, resp.Status, err)
	}
	if len(a.Errors) > 0 && a.Errors[0].Code != "" {
		return nil, &controlplane.NetworkError{Operation: action, Code: a.Errors[0].Code, Message: a.Errors[0].Message}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("EC2 at %s answers %s", endpoint, resp.Status)
	}
	return &a, nil
}
