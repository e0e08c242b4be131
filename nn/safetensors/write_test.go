package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyTensors draws tensors of all types and shapes with distinct names.
func anyTensors(t *rapid.T) []Tensor {
	names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }), 0, 8, rapid.ID).Draw(t, "names")
	tensors := make([]Tensor, len(names))
	for i, name := range names {
		dtype := DType(rapid.IntRange(int(BOOL), int(U64)).Draw(t, "dtype"))
		shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
		n, err := byteSize(dtype, shape)
		if err != nil {
			t.Fatal(err)
		}
		tensors[i] = Tensor{name, dtype, shape, rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")}
	}
	return tensors
}

func TestWriteThenRead(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := anyTensors(t)
		var metadata map[string]string
		if rapid.Bool().Draw(t, "has metadata") {
			metadata = rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		}
		path := filepath.Join(dir, "a.safetensors")
		if err := Write(path, want, metadata); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if diff := cmp.Diff(metadata, f.Metadata()); diff != "" {
			t.Fatalf("metadata: %s", diff)
		}
		if len(f.Names()) != len(want) || !slices.IsSorted(f.Names()) {
			t.Fatalf("names %q", f.Names())
		}
		for _, w := range want {
			got, err := f.Tensor(w.Name)
			if err != nil || !sameTensor(got, w) {
				t.Fatalf("wrote %+v, read %+v (%v)", w, got, err)
			}
		}
		if f.header.dataAt%8 != 0 {
			t.Fatalf("data begins at %d", f.header.dataAt)
		}

		other := filepath.Join(dir, "b.safetensors")
		if err := Write(other, rapid.Permutation(want).Draw(t, "order"), metadata); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(other); err != nil || !bytes.Equal(got, f.data) {
			t.Fatalf("another order gives other bytes (%v)", err)
		}
	})
}

func TestValuesThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOf(rapid.Float32()).Draw(t, "v")
		shape := []int{len(v)}
		for _, dtype := range []DType{F32, F64} {
			got, err := Float32s(FromFloat32s("w", dtype, shape, v))
			if err != nil || !slices.Equal(got, v) {
				t.Fatalf("%v: %v became %v (%v)", dtype, v, got, err)
			}
		}
		for _, dtype := range []DType{F16, BF16} { // rounded once, they stay
			once, err := Float32s(FromFloat32s("w", dtype, shape, v))
			if err != nil {
				t.Fatal(err)
			}
			again, err := Float32s(FromFloat32s("w", dtype, shape, once))
			if err != nil || !slices.Equal(again, once) {
				t.Fatalf("%v: %v became %v (%v)", dtype, once, again, err)
			}
		}
		ints := rapid.SliceOf(rapid.Int32()).Draw(t, "ints")
		got, err := Int32s(FromInt32s("i", []int{len(ints)}, ints))
		if err != nil || !slices.Equal(got, ints) {
			t.Fatalf("%v became %v (%v)", ints, got, err)
		}
	})
}

func TestValuesOfOtherTypes(t *testing.T) {
	i, f := FromInt32s("i", []int{1}, []int32{1}), FromFloat32s("f", F32, nil, []float32{1})
	if _, err := Float32s(i); err == nil || !strings.Contains(err.Error(), `tensor "i": expected F32, BF16, F16 or F64, found I32`) {
		t.Errorf("Float32s of I32: %v", err)
	}
	if _, err := Int32s(f); err == nil || !strings.Contains(err.Error(), `tensor "f": expected I64`) {
		t.Errorf("Int32s of F32: %v", err)
	}
	if _, err := Float32s(Tensor{"w", F32, []int{2}, make([]byte, 4)}); err == nil || !strings.Contains(err.Error(), "expected 8 bytes") {
		t.Errorf("half a tensor: %v", err)
	}
}

func TestMisusePanics(t *testing.T) {
	for want, misuse := range map[string]func(){
		`FromFloat32s("w"): shape [2 3], but 5 values`: func() { FromFloat32s("w", F32, []int{2, 3}, make([]float32, 5)) },
		`FromFloat32s("w"): dtype I32`:                 func() { FromFloat32s("w", I32, []int{1}, make([]float32, 1)) },
		`FromInt32s("w"): shape [], but 0 values`:      func() { FromInt32s("w", nil, nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			misuse()
		}()
	}
}

func TestWriteRefuses(t *testing.T) {
	good := Tensor{"w", U8, []int{2}, []byte{1, 2}}
	broken := errors.New("the device broke")
	lazy := func(write func(io.Writer) error) []Lazy { return []Lazy{{"w", U8, []int{2}, write}} }
	many := func(n int) func(w io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(make([]byte, n)); return err }
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.safetensors")
	if err := Write(path, []Tensor{good}, nil); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		err  error
	}{
		{`tensor "w" is given twice`, Write(path, []Tensor{good, good}, nil)},
		{`tensor "w" has the dtype invalid`, Write(path, []Tensor{{Name: "w"}}, nil)},
		{"has the dtype DType(99)", Write(path, []Tensor{{Name: "w", DType: 99}}, nil)},
		{"negative dimension", Write(path, []Tensor{{"w", U8, []int{-2}, nil}}, nil)},
		{"overflows", Write(path, []Tensor{{"w", U8, []int{math.MaxInt, 4}, nil}}, nil)},
		{"cannot name a tensor", Write(path, []Tensor{{metadataKey, U8, []int{0}, nil}}, nil)},
		{"cannot name a tensor", Write(path, []Tensor{{"\xff", U8, []int{0}, nil}}, nil)},
		{"not valid UTF-8", Write(path, nil, map[string]string{"a": "\xff"})},
		{"1 bytes more than its shape and dtype hold", Write(path, []Tensor{{"w", U8, []int{2}, make([]byte, 3)}}, nil)},
		{"expected 2 bytes for shape [2] of U8, got 1", WriteLazy(path, lazy(many(1)), nil)},
		{"expected 2 bytes for shape [2] of U8, got 0", WriteLazy(path, lazy(func(io.Writer) error { return nil }), nil)},
		{`tensor "w": the device broke`, WriteLazy(path, lazy(func(io.Writer) error { return broken }), nil)},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || !strings.Contains(c.err.Error(), path) {
			t.Errorf("got %v, want …%s…", c.err, c.want)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the previous file changed (%v)", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
	if err := Write(filepath.Join(dir, "no", "a"), []Tensor{good}, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "create it first") {
		t.Errorf("missing folder: %v", err)
	}
}

// One tensor is in memory at a time, whatever the file's size.
func TestWriteLazyStreams(t *testing.T) {
	const count, size = 32, 1 << 20
	buffer := make([]byte, size)
	var tensors []Lazy
	for i := range count {
		tensors = append(tensors, Lazy{fmt.Sprintf("t%02d", i), F32, []int{size / 4}, func(w io.Writer) error {
			for j := range buffer {
				buffer[j] = byte(i + j)
			}
			_, err := w.Write(buffer)
			return err
		}})
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := WriteLazy(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size {
		t.Errorf("writing %d bytes allocated %d", count*size, got)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, tensor := range tensorsOf(t, f) {
		if tensor.Data[5] != byte(i+5) || tensor.Data[size-1] != byte(i+size-1) {
			t.Errorf("%s holds another tensor's bytes", tensor.Name)
		}
	}
}

// The bytes of an open file stay when Write replaces it.
func TestReplaceWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows refuses to replace a mapped file")
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	write := func(b byte) {
		if err := Write(path, []Tensor{{"w", U8, []int{3}, []byte{b, b, b}}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(2)
	if w, err := f.Tensor("w"); err != nil || !bytes.Equal(w.Data, []byte{1, 1, 1}) {
		t.Errorf("open file now holds %v (%v)", w.Data, err)
	}
}

func TestConcurrentLookups(t *testing.T) {
	f := openGolden(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, name := range f.Names() {
				if _, err := f.Tensor(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
