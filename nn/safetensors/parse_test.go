package safetensors

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestParse: bytes in memory read as the file does, and nothing is copied.
func TestParse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	want := []Tensor{{Name: "a", DType: F32, Shape: []int{2}, Data: []byte("abcdefgh")}, {Name: "b", DType: U8, Shape: []int{3}, Data: []byte("xyz")}}
	if err := Write(path, want, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("embedded", data)
	if err != nil {
		t.Fatal(err)
	}
	if f.Path() != "embedded" || !slices.Equal(f.Names(), []string{"a", "b"}) || f.Metadata()["k"] != "v" {
		t.Errorf("path %q, names %q, metadata %v", f.Path(), f.Names(), f.Metadata())
	}
	for _, w := range want {
		x, err := f.Tensor(w.Name)
		if err != nil || !bytes.Equal(x.Data, w.Data) || x.DType != w.DType || !slices.Equal(x.Shape, w.Shape) {
			t.Errorf("%+v, %v; want %+v", x, err, w)
		}
	}
	a, _ := f.Tensor("a")
	data[bytes.Index(data, []byte("abcdefgh"))] = 'A'
	if a.Data[0] != 'A' {
		t.Error("the data were copied")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensor("a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for _, n := range []int{0, 7, len(data) - 1} {
		if _, err := Parse("embedded", data[:n]); err == nil || !strings.Contains(err.Error(), "embedded: ") {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}
