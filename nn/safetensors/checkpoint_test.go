package safetensors

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder makes a model folder: files given as "tensor tensor …" become weight
// files, all others are written as they are.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if !strings.HasSuffix(name, ".safetensors") {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var tensors []Tensor
		for _, tensor := range strings.Fields(content) {
			tensors = append(tensors, Tensor{tensor, U8, []int{len(name)}, []byte(name)})
		}
		if err := Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenModelSingle(t *testing.T) {
	c, err := OpenModel(folder(t, map[string]string{singleFile: "b a", indexFile: "not looked at"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if diff := cmp.Diff([]string{"a", "b"}, c.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestOpenModelSharded(t *testing.T) {
	dir := folder(t, map[string]string{
		"s1.safetensors": "a c",
		"s2.safetensors": "b",
		indexFile:        `{"metadata":{"total_size":1.5,"more":[{}]},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s1.safetensors"}}`,
	})
	c, err := OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, c.Names()); diff != "" {
		t.Error(diff)
	}
	for name, shard := range map[string]string{"a": "s1.safetensors", "b": "s2.safetensors", "c": "s1.safetensors"} {
		if got, err := c.Tensor(name); err != nil || string(got.Data) != shard || !c.Has(name) {
			t.Errorf("%s comes from %q (%v), want %s", name, got.Data, err, shard)
		}
	}
	if len(c.Files()) != 2 || c.Dir() != dir {
		t.Errorf("%d files in %s", len(c.Files()), c.Dir())
	}
	_, err = c.Tensor("d")
	if !errors.Is(err, ErrNoTensor) || !strings.Contains(err.Error(), dir) || c.Has("d") {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Tensor("a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOpenModelRefuses(t *testing.T) {
	const s1, s2 = "s1.safetensors", "s2.safetensors"
	for _, c := range []struct {
		want  string
		files map[string]string
	}{
		{"found neither: give the folder", nil},
		{"found neither, but pytorch_model.bin: only safetensors are read", map[string]string{"pytorch_model.bin": ""}},
		{"found neither, but adapter_model.safetensors: rename", map[string]string{"adapter_model.safetensors": "a"}},
		{"not valid JSON: unexpected end", map[string]string{indexFile: `{"weight_map":{`}},
		{"not valid UTF-8", map[string]string{indexFile: "{\"\xff\":1}"}},
		{"expected the index to be a JSON object, found a [", map[string]string{indexFile: `[]`}},
		{"expected a field weight_map, found none", map[string]string{indexFile: `{"metadata":{}}`}},
		{"expected weight_map to be a JSON object, found null", map[string]string{indexFile: `{"weight_map":null}`}},
		{`key "weight_map" occurs twice`, map[string]string{indexFile: `{"weight_map":{},"weight_map":{}}`}},
		{`key "a" occurs twice in weight_map`, map[string]string{indexFile: `{"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}}`}},
		{`expected a file name for tensor "a", found 1`, map[string]string{indexFile: `{"weight_map":{"a":1}}`}},
		{`beside the index, found "../s1.safetensors"`, map[string]string{indexFile: `{"weight_map":{"a":"../s1.safetensors"}}`}},
		{`beside the index, found "/s1.safetensors"`, map[string]string{indexFile: `{"weight_map":{"a":"/s1.safetensors"}}`}},
		{`beside the index, found "s1.bin"`, map[string]string{indexFile: `{"weight_map":{"a":"s1.bin"}}`}},
		{`the shard "s2.safetensors" does not exist, but the index puts 2 tensors into it`,
			map[string]string{s1: "a", indexFile: `{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"}}`}},
		{`puts tensor "b" into s1.safetensors, which does not hold it`,
			map[string]string{s1: "a", indexFile: `{"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}}`}},
		{`puts tensor "b" into s1.safetensors, but it is in s2.safetensors`,
			map[string]string{s1: "a", s2: "b c", indexFile: `{"weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors"}}`}},
		{`tensor "a" is in s1.safetensors and in s2.safetensors`,
			map[string]string{s1: "a", s2: "a b", indexFile: `{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}}`}},
		{`s1.safetensors holds tensor "z", which the index does not list`,
			map[string]string{s1: "a z", indexFile: `{"weight_map":{"a":"s1.safetensors"}}`}},
	} {
		dir := folder(t, c.files)
		m, err := OpenModel(dir)
		if err == nil {
			m.Close()
			t.Errorf("no error, want …%s…", c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got  %v\nwant …%s…", err, c.want)
		}
	}
	if _, err := OpenModel(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	file := filepath.Join(folder(t, map[string]string{singleFile: "a"}), singleFile)
	if _, err := OpenModel(file); err == nil || !strings.Contains(err.Error(), "expected a model folder, found a file") {
		t.Errorf("file for folder: %v", err)
	}
}

// A broken shard is named, and nothing stays open.
func TestOpenModelBrokenShard(t *testing.T) {
	dir := folder(t, map[string]string{"s1.safetensors": "a", indexFile: `{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}}`})
	if err := os.WriteFile(filepath.Join(dir, "s2.safetensors"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenModel(dir); err == nil || !strings.Contains(err.Error(), "s2.safetensors: expected at least the 8 bytes") {
		t.Errorf("got %v", err)
	}
}
