package house

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/selkie-ml/selkie"

// root is the folder of the repository's go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tree is the repository's files by their slash-separated paths.
type tree map[string]string

// readTree reads every text file but what .gitignore leaves out.
func readTree(t *testing.T) tree {
	t.Helper()
	files := tree{}
	fsys := os.DirFS(root(t))
	err := fs.WalkDir(fsys, ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if p == ".git" || p == ".cache" || p == "runs" {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > 1<<20 {
			return err
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), "\x00") {
			files[p] = string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}

// with returns the tree with one file changed: a fault planted to see a check
// find it.
func (f tree) with(t *testing.T, file, old, replacement string) tree {
	t.Helper()
	if !strings.Contains(f[file], old) {
		t.Fatalf("%s does not contain %q", file, old)
	}
	out := maps.Clone(f)
	out[file] = strings.Replace(f[file], old, replacement, 1)
	return out
}

// without returns the tree without one file.
func (f tree) without(t *testing.T, file string) tree {
	t.Helper()
	if _, ok := f[file]; !ok {
		t.Fatalf("there is no %s", file)
	}
	out := maps.Clone(f)
	delete(out, file)
	return out
}

// goFiles returns the Go files outside testdata of a folder, or of all folders
// for "", without tests unless wanted.
func (f tree) goFiles(dir string, tests bool) map[string]string {
	out := map[string]string{}
	for p, text := range f {
		switch {
		case path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/"):
		case dir != "" && path.Dir(p) != dir:
		case !tests && strings.HasSuffix(p, "_test.go"):
		default:
			out[p] = text
		}
	}
	return out
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

// mustFind fails unless one of the findings of a check on a planted fault has
// the text.
func mustFind(t *testing.T, findings []string, text string) {
	t.Helper()
	if !strings.Contains(strings.Join(findings, "\n"), text) {
		t.Errorf("a planted fault was not found: want %q in\n%s", text, strings.Join(findings, "\n"))
	}
}
