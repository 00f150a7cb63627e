package wholebody_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A client that speaks to a server nearby asks again when its connection is closed, and what was written is written twice.
func TestEveryClientSendsWholeBodies(t *testing.T) {
	files, clients := token.NewFileSet(), 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			var keys []string
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok {
						keys = append(keys, key.Name)
					}
				}
			}
			if !slices.Contains(keys, "BaseEndpoint") {
				return true
			}
			clients++
			if !slices.Contains(keys, "HTTPClient") {
				t.Errorf("%s: options of a client of AWS's SDK without `HTTPClient: wholebody.Client(nil)`", files.Position(lit.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if clients == 0 {
		t.Error("no client was found")
	}
}
