package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// raw is a file made by hand: the header text, padded to 8, and n bytes of data.
func raw(header string, n int) []byte {
	header += strings.Repeat(" ", -len(header)&7)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func entryText(name, dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

var goodFiles = map[string][]byte{
	"nothing":           raw(`{}`, 0),
	"only metadata":     raw(`{"__metadata__":{"a":"b"}}`, 0),
	"one":               raw(`{`+entryText("w", "F32", "[2,3]", 0, 24)+`}`, 24),
	"scalar":            raw(`{`+entryText("w", "I64", "[]", 0, 8)+`}`, 8),
	"empty":             raw(`{`+entryText("w", "F32", "[0,9]", 0, 0)+`}`, 0),
	"empties between":   raw(`{`+entryText("a", "F32", "[1]", 0, 4)+`,`+entryText("b", "F64", "[0]", 4, 4)+`,`+entryText("c", "F32", "[1]", 4, 8)+`}`, 8),
	"any order":         raw(`{`+entryText("a", "U8", "[1]", 4, 5)+`,`+entryText("b", "F32", "[1]", 0, 4)+`}`, 5),
	"fields any order":  raw(`{"w":{"data_offsets":[0,2],"shape":[1],"dtype":"BF16"}}`, 2),
	"spaces and escape": raw(`{ "\u0077" : {"dtype":"U8", "shape":[ 1 ] , "data_offsets":[0,1]} }   `, 1),
	"odd header length": append(append([]byte{3, 0, 0, 0, 0, 0, 0, 0}, "{ }"...), nil...),
}

var badFiles = []struct {
	name string
	file []byte
	want string // part of the error
}{
	{"empty file", nil, "empty or truncated"},
	{"short", []byte{1, 2, 3}, "found 3: the file is empty or truncated"},
	{"LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"},
	{"zip", append([]byte("PK\x03\x04 archive"), make([]byte, 99)...), "no safetensors file"},
	{"length beyond limit", []byte{0, 0, 0, 0, 0, 0, 0, 255, '{', '}'}, "at most 100000000 bytes"},
	{"length beyond file", []byte{9, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, "expected a header of 9 bytes, found only 2"},
	{"no header", make([]byte, 16), "begin with {"},
	{"array", raw(`[]`, 0), "begin with {"},
	{"space first", raw(` {}`, 0), "begin with {"},
	{"half JSON", raw(`{"w":{"dtype":`, 0), "not valid JSON"},
	{"trailing comma", raw(`{"w":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}}`, 1), "not valid JSON"},
	{"two objects", raw(`{}{}`, 0), "not valid JSON"},
	{"bad UTF-8", raw("{\"\xff\":{}}", 0), "UTF-8"},
	{"duplicate tensor", raw(`{`+entryText("w", "U8", "[1]", 0, 1)+`,`+entryText("w", "U8", "[1]", 1, 2)+`}`, 2), `key "w" occurs twice in the header`},
	{"duplicate by escape", raw(`{`+entryText("w", "U8", "[1]", 0, 1)+`,`+entryText(`\u0077`, "U8", "[1]", 1, 2)+`}`, 2), `key "w" occurs twice`},
	{"duplicate field", raw(`{"w":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,1]}}`, 1), `tensor "w": the key "shape" occurs twice`},
	{"duplicate metadata", raw(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `key "a" occurs twice in __metadata__`},
	{"metadata number", raw(`{"__metadata__":{"a":1}}`, 0), `expected "a" of __metadata__ to be a string, found 1`},
	{"metadata array", raw(`{"__metadata__":["a"]}`, 0), "expected __metadata__ to be a JSON object, found a ["},
	{"tensor is null", raw(`{"w":null}`, 0), `tensor "w": expected its description to be a JSON object, found null`},
	{"unknown field", raw(`{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}}`, 1), `unknown field "strides"`},
	{"field in capitals", raw(`{"w":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `unknown field "DType"`},
	{"no dtype", raw(`{"w":{"shape":[1],"data_offsets":[0,1]}}`, 1), "found no dtype"},
	{"nothing there", raw(`{"w":{}}`, 0), "found no dtype, shape, data_offsets"},
	{"unknown dtype", raw(`{`+entryText("w", "F4", "[2]", 0, 1)+`}`, 1), `tensor "w": unknown dtype "F4": expected one of BOOL`},
	{"invalid dtype", raw(`{`+entryText("w", "invalid", "[2]", 0, 1)+`}`, 1), `unknown dtype "invalid"`},
	{"dtype number", raw(`{"w":{"dtype":7,"shape":[1],"data_offsets":[0,1]}}`, 1), "expected dtype to be a string, found 7"},
	{"negative dimension", raw(`{`+entryText("w", "U8", "[-1]", 0, 1)+`}`, 1), "whole numbers from 0"},
	{"fraction", raw(`{`+entryText("w", "U8", "[1.0]", 0, 1)+`}`, 1), "found 1.0"},
	{"exponent", raw(`{`+entryText("w", "U8", "[1e0]", 0, 1)+`}`, 1), "found 1e0"},
	{"huge dimension", raw(`{`+entryText("w", "U8", "[99999999999999999999]", 0, 1)+`}`, 1), "found 99999999999999999999"},
	{"overflowing product", raw(`{`+entryText("w", "F64", "[4294967296,4294967296]", 0, 0)+`}`, 0), "overflows"},
	{"overflow beside zero", raw(`{`+entryText("w", "F64", "[4294967296,0,4294967296]", 0, 0)+`}`, 0), "overflows"},
	{"nested shape", raw(`{`+entryText("w", "U8", "[[1]]", 0, 1)+`}`, 1), "expected shape to hold numbers, found a ["},
	{"shape null", raw(`{`+entryText("w", "U8", "null", 0, 1)+`}`, 1), "expected shape to be an array of numbers, found null"},
	{"three offsets", raw(`{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "begin and end, found 3"},
	{"offsets reversed", raw(`{`+entryText("w", "U8", "[1]", 1, 0)+`}`, 1), "begin ≤ end, found [1, 0]"},
	{"size too large", raw(`{`+entryText("w", "F32", "[2]", 0, 4)+`}`, 4), "expected 8 bytes for shape [2] of F32, found data_offsets [0, 4] of 4 bytes"},
	{"size too small", raw(`{`+entryText("w", "F16", "[2]", 0, 8)+`}`, 8), "expected 4 bytes"},
	{"truncated data", raw(`{`+entryText("w", "F32", "[2]", 0, 8)+`}`, 7), `tensor "w": expected its data to end within the file's 7 bytes of data`},
	{"overlap", raw(`{`+entryText("a", "U8", "[4]", 0, 4)+`,`+entryText("b", "U8", "[4]", 2, 6)+`}`, 6), `tensor "b": expected its data to begin at 4, where "a" ends, found 2: they overlap`},
	{"shared data", raw(`{`+entryText("a", "U8", "[4]", 0, 4)+`,`+entryText("b", "U8", "[4]", 0, 4)+`}`, 4), "they overlap"},
	{"hole", raw(`{`+entryText("a", "U8", "[4]", 0, 4)+`,`+entryText("b", "U8", "[4]", 8, 12)+`}`, 12), `tensor "b": expected its data to begin at 4, where "a" ends, found 8: there is a hole`},
	{"hole at the start", raw(`{`+entryText("a", "U8", "[4]", 8, 12)+`}`, 12), "begin at 0, where the header ends, found 8: there is a hole"},
	{"bytes after", raw(`{`+entryText("a", "U8", "[4]", 0, 4)+`}`, 5), `expected the file to end with "a" after 4 bytes of data, found 5`},
	{"bytes but no tensors", raw(`{}`, 3), "expected the file to end with the header after 0 bytes"},
	{"misaligned by a neighbour", raw(`{`+entryText("a", "U8", "[1]", 0, 1)+`,`+entryText("b", "F32", "[1]", 1, 5)+`}`, 5), `tensor "b": expected its data at a multiple of 4, the size of F32`},
	{"misaligned by the header", append([]byte{62, 0, 0, 0, 0, 0, 0, 0}, `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}        1234`...), "expected its data at a multiple of 4"},
	{"long name", raw(`{"`+strings.Repeat("x", 5000)+`":{}}`, 0), strings.Repeat("x", 100) + `…"`},
}

func TestGoodFiles(t *testing.T) {
	for name, file := range goodFiles {
		path := filepath.Join(t.TempDir(), "f.safetensors")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		expectRewrite(t, f)
		f.Close()
	}
}

func TestBadFiles(t *testing.T) {
	for _, c := range badFiles {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.safetensors")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got  %v\nwant …%s…", err, c.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
}

// Cut anywhere, a file is refused.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "python.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := parse(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(whole))
		}
	}
}

func TestOpenPaths(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "expected a file, found a folder") {
		t.Errorf("folder: %v", err)
	}
	missing := filepath.Join(dir, "no.safetensors")
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing: %v", err)
	}
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		return // permissions bind nobody here
	}
	if err := os.WriteFile(missing, goodFiles["one"], 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(missing); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "may not be read") {
		t.Errorf("unreadable: %v", err)
	}
}

func TestLookup(t *testing.T) {
	f := openGolden(t)
	if !f.Has("f32") || f.Has("F32") {
		t.Error("Has is wrong")
	}
	_, err := f.Tensor("model.f32")
	if !errors.Is(err, ErrNoTensor) || !strings.Contains(err.Error(), `"f32"`) || !strings.Contains(err.Error(), f.Path()) {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := f.Tensor("f32"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Tensor after Close: %v", err)
	}
}

// A caller that changes a shape changes its own copy.
func TestShapeIsACopy(t *testing.T) {
	f := openGolden(t)
	a, _ := f.Tensor("f32")
	a.Shape[0] = 1
	if b, _ := f.Tensor("f32"); b.Shape[0] == 1 {
		t.Error("a changed shape reached the file")
	}
}

func FuzzOpen(f *testing.F) {
	for _, file := range goodFiles {
		f.Add(file)
	}
	for _, c := range badFiles {
		f.Add(c.file)
	}
	python, err := os.ReadFile(filepath.Join("testdata", "python.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(python)
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := parse(file)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*len(file)); got > most {
			t.Errorf("allocated %d bytes for a file of %d", got, len(file))
		}
		if err != nil {
			if len(err.Error()) > 4000 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		opened := &File{path: "fuzz", header: h, data: file, unmap: func() error { return nil }}
		total := 0
		for _, name := range opened.Names() {
			tensor, err := opened.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := tensor.check(); err != nil {
				t.Error(err)
			}
			total += len(tensor.Data)
		}
		if total != len(file)-h.dataAt {
			t.Errorf("tensors cover %d of %d bytes", total, len(file)-h.dataAt)
		}
	})
}
