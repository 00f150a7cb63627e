package node

import (
	"path/filepath"
	"testing"
)

// C-052, C-087, C-135: boto3, with all its waiters and paginators of functions.
func TestClientBoto3(t *testing.T) {
	t.Parallel()
	_, env := forClients(t)
	story, err := filepath.Abs(filepath.Join("testdata", "clients", "story.py"))
	if err != nil {
		t.Fatal(err)
	}
	python(t, env, "python").do(story, shopFile(t), "boto3-shop")
}
