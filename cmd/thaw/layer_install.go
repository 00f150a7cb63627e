package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/codepackage"
	"thaw/node/embedded"
)

// cacheLayer is the layer of the caching extension; cacheDescription its description, and of no other layer.
const (
	cacheLayer       = "cache"
	cacheDescription = "thaw-cache: parameters, secrets, HTTP answers and files, kept for the function at port 2773"
)

func layerInstallCommand(a *app) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "install cache",
		Short: "Publish a layer that comes with thaw: cache, an extension that keeps values for a function",
		Long: `Publishes a version of a layer that comes with thaw. cache is an extension that keeps Parameter Store and Secrets Manager values, HTTP
answers and files for a function, on the port and paths of AWS's Parameters and Secrets extension.`,
		Args:      args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{cacheLayer},
		Example:   "thaw layer install cache",
	}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		code, err := cachePackage()
		if err != nil {
			return err
		}
		client, err := a.client(cmd, t, "")
		if err != nil {
			return err
		}
		arch := types.ArchitectureX8664
		if runtime.GOARCH == "arm64" {
			arch = types.ArchitectureArm64
		}
		v, err := client.PublishLayerVersion(cmd.Context(), &lambda.PublishLayerVersionInput{LayerName: aws.String(names[0]), Description: aws.String(cacheDescription),
			CompatibleArchitectures: []types.Architecture{arch}, Content: &types.LayerVersionContentInput{ZipFile: code}})
		if err != nil {
			return plainer(err)
		}
		out := layerVersion{Layer: names[0], Version: v.Version, ARN: aws.ToString(v.LayerVersionArn), Description: cacheDescription, Created: aws.ToString(v.CreatedDate),
			Architectures: []string{string(arch)}, CodeSize: v.Content.CodeSize}
		return a.print(out, func(w io.Writer) { fmt.Fprintln(w, out.ARN) })
	}
	return cmd
}

// cachePackage is the layer's zip: the extension that this executable carries, for its own architecture.
func cachePackage() (code []byte, err error) {
	dir, err := os.MkdirTemp("", "thaw-layer-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	program, err := embedded.Cache(filepath.Join(dir, "program"))
	if err != nil {
		return nil, err
	}
	layer := filepath.Join(dir, "layer")
	if err := os.MkdirAll(filepath.Join(layer, "extensions"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(program, filepath.Join(layer, "extensions", "thaw-cache")); err != nil {
		return nil, err
	}
	return codepackage.Pack(os.DirFS(layer), nil)
}
