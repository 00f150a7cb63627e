package vpc_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"thaw/controlplane"
	"thaw/vpc"
)

// ec2 answers as EC2 does: it knows subnet-1 and subnet-2 of vpc-9, and sg-1.
func ec2(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)           //nolint:errcheck // a short one is no form
	form, _ := url.ParseQuery(string(body)) //nolint:errcheck // nor is this
	if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ec2/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date") || form.Get("Version") != "2016-11-15" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	refuse := func(code, message string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>1</RequestID></Response>`, code, message)
	}
	switch form.Get("Action") {
	case "DescribeSubnets":
		for _, name := range []string{"SubnetId.1", "SubnetId.2"} {
			if id := form.Get(name); id != "" && id != "subnet-1" && id != "subnet-2" {
				refuse("InvalidSubnetID.NotFound", "The subnet ID '"+id+"' does not exist")
				return
			}
		}
		fmt.Fprint(w, `<DescribeSubnetsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-9</vpcId></item></subnetSet></DescribeSubnetsResponse>`)
	case "DescribeSecurityGroups":
		if id := form.Get("GroupId.1"); id != "sg-1" {
			refuse("InvalidGroup.NotFound", "The security group '"+id+"' does not exist")
			return
		}
		fmt.Fprint(w, `<DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><securityGroupInfo><item/></securityGroupInfo></DescribeSecurityGroupsResponse>`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// What EC2 knows nothing of is refused in its words; where nobody can be asked, any name is taken.
func TestFind(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(ec2))
	defer server.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, c := range []struct {
		name, variable, endpoint string
		subnets, groups          []string
		vpc, refused             string
		warned                   bool
	}{
		{"no endpoint", "AWS_ENDPOINT_URL_EC2", "", []string{"subnet-3"}, []string{"sg-3"}, "", "", false},
		{"what there is", "AWS_ENDPOINT_URL_EC2", server.URL, []string{"subnet-1", "subnet-2"}, []string{"sg-1"}, "vpc-9", "", false},
		{"by the endpoint of all services", "AWS_ENDPOINT_URL", server.URL, []string{"subnet-1"}, nil, "vpc-9", "", false},
		{"an unknown subnet", "AWS_ENDPOINT_URL_EC2", server.URL, []string{"subnet-1", "subnet-3"}, []string{"sg-1"}, "",
			"DescribeSubnets: InvalidSubnetID.NotFound: The subnet ID 'subnet-3' does not exist", false},
		{"an unknown group", "AWS_ENDPOINT_URL_EC2", server.URL, []string{"subnet-1"}, []string{"sg-3"}, "",
			"DescribeSecurityGroups: InvalidGroup.NotFound: The security group 'sg-3' does not exist", false},
		{"an endpoint that is no EC2", "AWS_ENDPOINT_URL", broken.URL, []string{"subnet-3"}, nil, "", "", true},
		{"nobody at the endpoint", "AWS_ENDPOINT_URL_EC2", gone.URL, []string{"subnet-3"}, nil, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.variable, c.endpoint)
			var log bytes.Buffer
			l := &vpc.Lookup{Log: slog.New(slog.NewTextHandler(&log, nil))}
			id, err := l.Find(t.Context(), "eu-west-1", c.subnets, c.groups)
			var refused *controlplane.NetworkError
			if errors.As(err, &refused) != (c.refused != "") || refused != nil && refused.Error() != c.refused || refused == nil && err != nil {
				t.Errorf("%v, want %q", err, c.refused)
			}
			if id != c.vpc || (log.Len() > 0) != c.warned {
				t.Errorf("VPC %q, want %q; log %q", id, c.vpc, log.String())
			}
		})
	}
}
