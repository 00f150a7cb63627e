package api_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/controlplane"
)

// networks are the subnets and groups that there are.
type networks []string

func (n networks) Find(_ context.Context, region string, subnets, groups []string) (string, error) {
	for _, id := range subnets {
		if !slices.Contains(n, id) {
			return "", &controlplane.NetworkError{Operation: "DescribeSubnets", Code: "InvalidSubnetID.NotFound", Message: "The subnet ID '" + id + "' does not exist"}
		}
	}
	for _, id := range groups {
		if !slices.Contains(n, id) {
			return "", &controlplane.NetworkError{Operation: "DescribeSecurityGroups", Code: "InvalidGroup.NotFound", Message: "The security group '" + id + "' does not exist"}
		}
	}
	if region != "eu-west-1" {
		return "", errors.New("another region was asked")
	}
	return "vpc-9", nil
}

// Subnets and security groups that are none are refused in the service's words when a function is made, and when it is
// changed; the VPC of those that are some is shown. Source: spec 4.1.
func TestNetworks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.Networks = networks{"subnet-1", "sg-1"} })
	ctx := t.Context()
	of := func(subnet, group string) *types.VpcConfig {
		return &types.VpcConfig{SubnetIds: []string{subnet}, SecurityGroupIds: []string{group}}
	}
	const (
		noSubnet = "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID 'subnet-2' does not exist"
		noGroup  = "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: The security group 'sg-2' does not exist"
	)
	for _, c := range []struct {
		subnet, group, want string
	}{{"subnet-2", "sg-1", noSubnet}, {"subnet-1", "sg-2", noGroup}} {
		in := createInput(t, "orders")
		in.VpcConfig = of(c.subnet, c.group)
		_, err := w.client.CreateFunction(ctx, in)
		wantError(t, err, "InvalidParameterValueException", c.want)
	}
	created := w.create("orders", func(in *lambda.CreateFunctionInput) { in.VpcConfig = of("subnet-1", "sg-1") })
	if aws.ToString(created.VpcConfig.VpcId) != "vpc-9" {
		t.Errorf("created: %+v", created.VpcConfig)
	}
	w.active("orders")
	_, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), VpcConfig: of("subnet-2", "sg-1")})
	wantError(t, err, "InvalidParameterValueException", noSubnet)
	_, err = w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("absent"), VpcConfig: of("subnet-2", "sg-1")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:absent")
	none := &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}
	out, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), VpcConfig: none})
	if err != nil || aws.ToString(out.VpcConfig.VpcId) != "" || len(out.VpcConfig.SubnetIds) != 0 {
		t.Errorf("taken away: %+v, %v", out, err)
	}
}
