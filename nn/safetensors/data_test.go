package safetensors

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/internal/testdata"
)

// own is the repository's own small golden set.
var own = filepath.Join("..", "testdata", "golden")

func TestDataFiles(t *testing.T)  { expectFiles(t, filepath.Join(testdata.Dir(t), "golden")) }
func TestDataModels(t *testing.T) { expectModels(t, filepath.Join(testdata.Dir(t), "golden")) }
func TestOwnFiles(t *testing.T)   { expectFiles(t, own) }
func TestOwnModels(t *testing.T)  { expectModels(t, own) }

// expectFiles: every weight file found opens, and what Write makes of it opens
// to the same.
func expectFiles(t *testing.T, root string) {
	t.Helper()
	files, tensors := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".safetensors") {
			return err
		}
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer f.Close()
		files++
		tensors += len(f.Names())
		expectRewrite(t, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatalf("no .safetensors file under %s", root)
	}
	t.Logf("%d files, %d tensors", files, tensors)
}

// expectRewrite writes all tensors of f and reads them back.
func expectRewrite(t *testing.T, f *File) {
	t.Helper()
	all := tensorsOf(t, f)
	again := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Write(again, all, f.Metadata()); err != nil {
		t.Fatal(err)
	}
	g, err := Open(again)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if diff := cmp.Diff(f.Metadata(), g.Metadata()); diff != "" {
		t.Errorf("%s: metadata: %s", f.Path(), diff)
	}
	got := tensorsOf(t, g)
	if len(got) != len(all) {
		t.Fatalf("%s: %d tensors became %d", f.Path(), len(all), len(got))
	}
	for i := range all {
		if !sameTensor(all[i], got[i]) {
			t.Errorf("%s: tensor %s changed by rewriting", f.Path(), all[i].Name)
		}
	}
	if !bytes.Equal(f.data, g.data) {
		t.Logf("%s: rewriting changed the bytes, not the tensors", f.Path())
	}
}

func tensorsOf(t *testing.T, s Source) []Tensor {
	t.Helper()
	var all []Tensor
	for _, name := range s.Names() {
		tensor, err := s.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tensor)
	}
	return all
}

func sameTensor(a, b Tensor) bool {
	return a.Name == b.Name && a.DType == b.DType && bytes.Equal(a.Data, b.Data) &&
		(len(a.Shape) == len(b.Shape)) && cmp.Equal(append([]int{}, a.Shape...), append([]int{}, b.Shape...))
}

// expectModels: every model folder opens, and gives its files' tensors.
func expectModels(t *testing.T, root string) {
	t.Helper()
	models := 0
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !exists(filepath.Join(dir, "config.json")) {
			return err
		}
		c, err := OpenModel(dir)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer c.Close()
		models++
		n := 0
		for _, f := range c.Files() {
			n += len(f.Names())
		}
		if got := len(tensorsOf(t, c)); got != n || n == 0 {
			t.Errorf("%s: %d tensors by name, %d in its files", dir, got, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if models == 0 {
		t.Fatalf("no model folder under %s", root)
	}
	t.Logf("%d models", models)
}
