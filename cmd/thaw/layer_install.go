package main

import (
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
	cmd := &cobra.Command{
		Use:   "install cache",
		Short: "Publish a layer that comes with thaw: cache, an extension that keeps values for a function",
		Long: `Publishes a version of a layer that comes with thaw. cache is an extension that keeps Parameter Store and Secrets Manager values, HTTP
answers and files for a function, on the port and paths of AWS's Parameters and Secrets extension.`,
		Args:      args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{cacheLayer},
		Example:   "thaw layer install cache",
	}
	return calling(a, cmd, nil, func(c *call) error {
		code, err := cachePackage()
		if err != nil {
			return err
		}
		arch := types.ArchitectureX8664
		if runtime.GOARCH == "arm64" {
			arch = types.ArchitectureArm64
		}
		return c.publishLayer(&lambda.PublishLayerVersionInput{LayerName: &c.names[0], Description: aws.String(cacheDescription),
			CompatibleArchitectures: []types.Architecture{arch}}, code)
	})
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
