package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// layerARNs are the ARNs of layers: of their newest versions where none is named. Nil stays nil.
func layerARNs(ctx context.Context, client *lambda.Client, names []string) ([]string, error) {
	if names == nil {
		return nil, nil
	}
	arns := []string{}
	for _, name := range names {
		arn, err := layerARN(ctx, client, name)
		if err != nil {
			return nil, err
		}
		arns = append(arns, arn)
	}
	return arns, nil
}

func layerARN(ctx context.Context, client *lambda.Client, name string) (string, error) {
	if strings.HasPrefix(name, "arn:") {
		return name, nil
	}
	layer, version, err := layerAndVersion(name)
	if err != nil {
		all, err := layersOf(ctx, client, []string{name})
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("there is no layer %s; type: thaw layer ls", name)
		}
		if err != nil {
			return "", err
		}
		return all[0].ARN, nil
	}
	out, err := client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: &layer, VersionNumber: &version})
	if err != nil {
		return "", fmt.Errorf("layer %s: %w", name, err)
	}
	return aws.ToString(out.LayerVersionArn), nil
}

// variables are those that the function gets, when it has some already.
func (d *deployment) variables(has map[string]string) map[string]string {
	vars := maps.Clone(has)
	if vars == nil || d.want.Environment != nil {
		vars = map[string]string{}
	}
	for name, value := range d.want.Environment {
		vars[name] = string(value)
	}
	maps.Copy(vars, d.vars)
	return vars
}

// tags are those of the file.
func (d *deployment) tags() map[string]string {
	tags := map[string]string{}
	for name, value := range d.want.Tags {
		tags[name] = string(value)
	}
	return tags
}

func (d *deployment) create(ctx context.Context, client *lambda.Client, code []byte) error {
	w := &d.want
	in := &lambda.CreateFunctionInput{FunctionName: &d.Function, Runtime: types.Runtime(d.Runtime), Handler: &d.Handler, Role: aws.String(cmp.Or(w.Role, defaultRole)),
		Description: orNil(w.Description), Code: &types.FunctionCode{ZipFile: code}, Timeout: aws.Int32(30), SnapStart: d.applyOn(), Layers: d.layers}
	if w.Timeout != 0 {
		in.Timeout = (*int32)(&w.Timeout)
	}
	if w.Memory != 0 {
		in.MemorySize = (*int32)(&w.Memory)
	}
	if w.Tmp != 0 {
		in.EphemeralStorage = &types.EphemeralStorage{Size: (*int32)(&w.Tmp)}
	}
	if vars := d.variables(nil); len(vars) > 0 {
		in.Environment = &types.Environment{Variables: vars}
	}
	if len(w.Tags) > 0 {
		in.Tags = d.tags()
	}
	out, err := client.CreateFunction(ctx, in)
	if err != nil {
		return err
	}
	d.Change, d.ARN, d.CodeSize, d.CodeHash = "created", aws.ToString(out.FunctionArn), out.CodeSize, aws.ToString(out.CodeSha256)
	return nil
}

func (d *deployment) applyOn() *types.SnapStart {
	if !d.want.SnapStart {
		return nil
	}
	return &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
}

// update changes what is different, the configuration first: new code may need it.
func (d *deployment) update(ctx context.Context, client *lambda.Client, was *types.FunctionConfiguration, code []byte) error {
	d.Change, d.ARN = "unchanged", aws.ToString(was.FunctionArn)
	if in, differs := d.configuration(was); differs {
		if _, err := client.UpdateFunctionConfiguration(ctx, in); err != nil {
			return err
		}
		d.Change = "updated"
		if err := waitUpdated(ctx, client, d.Function); err != nil {
			return err
		}
	}
	dry, err := client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.Function, ZipFile: code, DryRun: true})
	if err != nil {
		return err
	}
	d.CodeSize, d.CodeHash = dry.CodeSize, aws.ToString(dry.CodeSha256)
	if d.CodeHash == aws.ToString(was.CodeSha256) {
		return nil
	}
	if _, err := client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.Function, ZipFile: code}); err != nil {
		return err
	}
	d.Change = "updated"
	return nil
}

// configuration is the change that is asked for, and whether there is one.
func (d *deployment) configuration(was *types.FunctionConfiguration) (*lambda.UpdateFunctionConfigurationInput, bool) {
	in, differs, w := &lambda.UpdateFunctionConfigurationInput{FunctionName: &d.Function}, false, &d.want
	if d.Runtime != string(was.Runtime) || d.Handler != aws.ToString(was.Handler) {
		in.Runtime, in.Handler, differs = types.Runtime(d.Runtime), &d.Handler, true
	}
	if w.Memory != 0 && int32(w.Memory) != aws.ToInt32(was.MemorySize) {
		in.MemorySize, differs = (*int32)(&w.Memory), true
	}
	if w.Timeout != 0 && int32(w.Timeout) != aws.ToInt32(was.Timeout) {
		in.Timeout, differs = (*int32)(&w.Timeout), true
	}
	if w.Tmp != 0 && (was.EphemeralStorage == nil || int32(w.Tmp) != aws.ToInt32(was.EphemeralStorage.Size)) {
		in.EphemeralStorage, differs = &types.EphemeralStorage{Size: (*int32)(&w.Tmp)}, true
	}
	if w.Role != "" && w.Role != aws.ToString(was.Role) {
		in.Role, differs = &w.Role, true
	}
	if w.Description != "" && w.Description != aws.ToString(was.Description) {
		in.Description, differs = &w.Description, true
	}
	var before map[string]string
	if was.Environment != nil {
		before = was.Environment.Variables
	}
	if vars := d.variables(before); !maps.Equal(before, vars) {
		in.Environment, differs = &types.Environment{Variables: vars}, true
	}
	if d.layers != nil && !slices.EqualFunc(d.layers, was.Layers, func(arn string, l types.Layer) bool { return arn == aws.ToString(l.Arn) }) {
		in.Layers, differs = d.layers, true
	}
	if w.SnapStart && (was.SnapStart == nil || was.SnapStart.ApplyOn != types.SnapStartApplyOnPublishedVersions) {
		in.SnapStart, differs = d.applyOn(), true
	}
	return in, differs
}
