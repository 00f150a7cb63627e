package main

import (
	"cmp"
	"context"
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
	return calling(a, &cobra.Command{
		Use:     "ls [LAYER]",
		Aliases: []string{"list"},
		Short:   "List the layers with their newest versions, or the versions of one",
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw layer ls -o json",
	}, []operand{aLayer}, func(c *call) error {
		list, err := layersOf(c, c.client, c.names)
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"LAYER", "CREATED", "RUNTIMES", "ARCHITECTURES", "DESCRIPTION", "ARN"}}
			for _, l := range list {
				rows = append(rows, []string{l.name(), l.Created, orAny(l.Runtimes), orAny(l.Architectures), cmp.Or(visible(l.Description), "-"), l.ARN})
			}
			table(w, rows)
		})
	})
}

func orAny(words []string) string { return cmp.Or(strings.Join(words, ","), "any") }

// layersOf are all layers with their newest versions, or the versions of one.
func layersOf(ctx context.Context, client *lambda.Client, names []string) ([]layerVersion, error) {
	list := []layerVersion{}
	if len(names) == 1 {
		for p := lambda.NewListLayerVersionsPaginator(client, &lambda.ListLayerVersionsInput{LayerName: &names[0]}); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
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
		page, err := p.NextPage(ctx)
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
	out.Runtimes, out.Architectures = plain(v.CompatibleRuntimes), plain(v.CompatibleArchitectures)
	return out
}

func layerPublishCommand(a *app) *cobra.Command {
	var (
		description, license string
		runtimes, archs      []string
		code                 []byte
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
	cmd.PreRunE = func(_ *cobra.Command, names []string) (err error) {
		code, err = layerPackage(names[1])
		return err
	}
	return calling(a, cmd, []operand{aLayer, aFile}, func(c *call) error {
		in := &lambda.PublishLayerVersionInput{LayerName: &c.names[0], Description: orNil(description), LicenseInfo: orNil(license),
			CompatibleRuntimes: typed[types.Runtime](runtimes), CompatibleArchitectures: typed[types.Architecture](archs)}
		return c.publishLayer(in, code)
	})
}

// publishLayer publishes a version of a layer and prints it.
func (c *call) publishLayer(in *lambda.PublishLayerVersionInput, code []byte) error {
	in.Content = &types.LayerVersionContentInput{ZipFile: code}
	v, err := c.client.PublishLayerVersion(c, in)
	if err != nil {
		return err
	}
	out := layerVersion{Layer: *in.LayerName, Version: v.Version, ARN: aws.ToString(v.LayerVersionArn), Description: aws.ToString(in.Description), Created: aws.ToString(v.CreatedDate),
		Runtimes: plain(in.CompatibleRuntimes), Architectures: plain(in.CompatibleArchitectures), CodeSize: v.Content.CodeSize}
	return c.print(out, func(w io.Writer) { fmt.Fprintln(w, out.ARN) })
}

// orNil is nil for what was not given.
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// typed gives words the type that the API has for them, and plain takes it away.
func typed[T ~string](words []string) (out []T) {
	for _, w := range words {
		out = append(out, T(w))
	}
	return out
}

func plain[T ~string](words []T) (out []string) {
	for _, w := range words {
		out = append(out, string(w))
	}
	return out
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
	return calling(a, &cobra.Command{
		Use:     "rm LAYER:VERSION",
		Aliases: []string{"delete"},
		Short:   "Delete a version of a layer; functions that have it keep it",
		Args:    args(cobra.MatchAll(cobra.ExactArgs(1), func(_ *cobra.Command, names []string) error { _, _, err := layerAndVersion(names[0]); return err })),
		Example: "thaw layer rm libs:1",
	}, []operand{aLayerVersion}, func(c *call) error {
		name, number, err := layerAndVersion(c.names[0])
		if err != nil {
			return err
		}
		v, err := c.client.GetLayerVersion(c, &lambda.GetLayerVersionInput{LayerName: &name, VersionNumber: &number})
		if err != nil {
			return err
		}
		if _, err := c.client.DeleteLayerVersion(c, &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: &number}); err != nil {
			return err
		}
		out := layerVersion{Layer: name, Version: number, ARN: aws.ToString(v.LayerVersionArn)}
		return a.print(out, func(w io.Writer) { fmt.Fprintln(w, "deleted", out.name()) })
	})
}

// layerAndVersion reads LAYER:VERSION; LAYER may be an ARN.
func layerAndVersion(text string) (layer string, version int64, err error) {
	i := strings.LastIndexByte(text, ':')
	version, err = strconv.ParseInt(text[i+1:], 10, 64)
	if i <= 0 || err != nil || version < 1 {
		return "", 0, fmt.Errorf("%s is not of the form LAYER:VERSION, such as libs:1", text)
	}
	return text[:i], version, nil
}
