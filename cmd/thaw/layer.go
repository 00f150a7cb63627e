package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/codepackage"
)

// layerVersion is a version of a layer as -o json prints it.
type layerVersion struct {
	Layer         string   `json:"layer"`
	Version       int64    `json:"version"`
	ARN           string   `json:"arn"`
	Description   string   `json:"description,omitempty"`
	Created       string   `json:"created,omitempty"`
	Runtimes      []string `json:"runtimes,omitempty"`
	Architectures []string `json:"architectures,omitempty"`
	CodeSize      int64    `json:"codeSize,omitempty"`
}

func (l *layerVersion) name() string { return fmt.Sprintf("%s:%d", l.Layer, l.Version) }

func layerCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "layer",
		Short: "Publish, list and delete layers, which functions find at /opt",
		Long: `A layer is a folder that functions find at /opt: python, nodejs/node_modules, java/lib, bin, lib, extensions. A function takes
versions of up to five layers, by their ARNs: aws lambda update-function-configuration --layers ARN ...`,
		Example: "thaw layer ls",
	}, layerLsCommand(a), layerPublishCommand(a), layerInstallCommand(a), layerRmCommand(a))
}

func layerLsCommand(a *app) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "ls [LAYER]",
		Aliases: []string{"list"},
		Short:   "List the layers with their newest versions, or the versions of one",
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw layer ls -o json",
	}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		client, err := a.client(cmd, t, "")
		if err != nil {
			return err
		}
		list, err := layersOf(cmd, client, names)
		if err != nil {
			return plainer(err)
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"LAYER", "CREATED", "RUNTIMES", "ARCHITECTURES", "DESCRIPTION", "ARN"}}
			for _, l := range list {
				rows = append(rows, []string{l.name(), l.Created, orAny(l.Runtimes), orAny(l.Architectures), cmp.Or(visible(l.Description), "-"), l.ARN})
			}
			table(w, rows)
		})
	}
	return cmd
}

func orAny(words []string) string { return cmp.Or(strings.Join(words, ","), "any") }

func layersOf(cmd *cobra.Command, client *lambda.Client, names []string) ([]layerVersion, error) {
	list := []layerVersion{}
	if len(names) == 1 {
		for p := lambda.NewListLayerVersionsPaginator(client, &lambda.ListLayerVersionsInput{LayerName: &names[0]}); p.HasMorePages(); {
			page, err := p.NextPage(cmd.Context())
			if err != nil {
				return nil, err
			}
			for i := range page.LayerVersions {
				list = append(list, shownLayer(names[0], &page.LayerVersions[i]))
			}
		}
		return list, nil
	}
	for p := lambda.NewListLayersPaginator(client, &lambda.ListLayersInput{}); p.HasMorePages(); {
		page, err := p.NextPage(cmd.Context())
		if err != nil {
			return nil, err
		}
		for _, l := range page.Layers {
			list = append(list, shownLayer(aws.ToString(l.LayerName), l.LatestMatchingVersion))
		}
	}
	return list, nil
}

func shownLayer(name string, v *types.LayerVersionsListItem) layerVersion {
	out := layerVersion{Layer: name, Version: v.Version, ARN: aws.ToString(v.LayerVersionArn), Description: aws.ToString(v.Description), Created: aws.ToString(v.CreatedDate)}
	for _, r := range v.CompatibleRuntimes {
		out.Runtimes = append(out.Runtimes, string(r))
	}
	for _, a := range v.CompatibleArchitectures {
		out.Architectures = append(out.Architectures, string(a))
	}
	return out
}

func layerPublishCommand(a *app) *cobra.Command {
	var (
		t                    target
		description, license string
		runtimes, archs      []string
	)
	cmd := &cobra.Command{
		Use:     "publish LAYER FOLDER|FILE.zip",
		Short:   "Publish a version of a layer from a folder or a zip",
		Args:    args(cobra.ExactArgs(2)),
		Example: "thaw layer publish libs ./libs --runtime python3.12",
	}
	cmd.Flags().StringVar(&description, "description", "", "what the version is")
	cmd.Flags().StringVar(&license, "license", "", "its license, such as MIT")
	cmd.Flags().StringSliceVar(&runtimes, "runtime", nil, "runtime that it is for; can be given several times")
	cmd.Flags().StringSliceVar(&archs, "arch", nil, "architecture that it is for, x86_64 or arm64")
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		code, err := layerPackage(names[1])
		if err != nil {
			return err
		}
		client, err := a.client(cmd, t, "")
		if err != nil {
			return err
		}
		in := &lambda.PublishLayerVersionInput{LayerName: &names[0], Content: &types.LayerVersionContentInput{ZipFile: code}}
		if description != "" {
			in.Description = &description
		}
		if license != "" {
			in.LicenseInfo = &license
		}
		for _, r := range runtimes {
			in.CompatibleRuntimes = append(in.CompatibleRuntimes, types.Runtime(r))
		}
		for _, arch := range archs {
			in.CompatibleArchitectures = append(in.CompatibleArchitectures, types.Architecture(arch))
		}
		v, err := client.PublishLayerVersion(cmd.Context(), in)
		if err != nil {
			return plainer(err)
		}
		out := layerVersion{Layer: names[0], Version: v.Version, ARN: aws.ToString(v.LayerVersionArn), Description: description, Created: aws.ToString(v.CreatedDate),
			Runtimes: runtimes, Architectures: archs, CodeSize: v.Content.CodeSize}
		return a.print(out, func(w io.Writer) { fmt.Fprintln(w, out.ARN) })
	}
	return cmd
}

// layerPackage is the zip that a path names, or one of the folder that it names.
func layerPackage(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, misuse{fmt.Errorf("%s is neither a folder nor a file", path)}
	case !info.IsDir():
		return os.ReadFile(path)
	}
	code, err := codepackage.Pack(os.DirFS(path), nil)
	if err != nil {
		return nil, fmt.Errorf("package of %s: %w", path, err)
	}
	return code, nil
}

func layerRmCommand(a *app) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "rm LAYER:VERSION",
		Aliases: []string{"delete"},
		Short:   "Delete a version of a layer; functions that have it keep it",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw layer rm libs:1",
	}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		i := strings.LastIndexByte(names[0], ':')
		number, err := strconv.ParseInt(names[0][i+1:], 10, 64)
		if i <= 0 || err != nil || number < 1 {
			return misuse{fmt.Errorf("%s is not of the form LAYER:VERSION, such as libs:1", names[0])}
		}
		client, err := a.client(cmd, t, "")
		if err != nil {
			return err
		}
		name := names[0][:i]
		v, err := client.GetLayerVersion(cmd.Context(), &lambda.GetLayerVersionInput{LayerName: &name, VersionNumber: &number})
		if err != nil {
			return plainer(err)
		}
		if _, err := client.DeleteLayerVersion(cmd.Context(), &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: &number}); err != nil {
			return plainer(err)
		}
		out := layerVersion{Layer: name, Version: number, ARN: aws.ToString(v.LayerVersionArn)}
		return a.print(out, func(w io.Writer) { fmt.Fprintln(w, "deleted", out.name()) })
	}
	return cmd
}
