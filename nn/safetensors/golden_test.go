package safetensors

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func openGolden(t *testing.T) *File {
	t.Helper()
	f, err := Open(filepath.Join("testdata", "python.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The values are those that torch saw when it wrote the file.
func TestValuesWrittenByPython(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "python.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		Shape  []int
		Values []any
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&want); err != nil {
		t.Fatal(err)
	}
	f := openGolden(t)
	if len(f.Names()) != len(want) {
		t.Errorf("file holds %q, want %d tensors", f.Names(), len(want))
	}
	for name, w := range want {
		got, err := f.Tensor(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !sameTensor(got, Tensor{name, got.DType, w.Shape, got.Data}) {
			t.Errorf("%s has shape %v, want %v", name, got.Shape, w.Shape)
		}
		if wantType := strings.ToUpper(name); got.DType.String() != wantType && got.DType != typeOfOther(name) {
			t.Errorf("%s has type %v", name, got.DType)
		}
		switch {
		case strings.HasPrefix(got.DType.String(), "F8"), got.DType == C64, got.DType == U64:
			// Carried, not converted.
		case name == "i64.large":
			if _, err := Int32s(got); err == nil || !strings.Contains(err.Error(), "element 0 is 2147483648") {
				t.Errorf("Int32s of 2³¹ gave %v", err)
			}
		case got.DType == F64 || got.DType == F32 || got.DType == F16 || got.DType == BF16:
			values, err := Float32s(got)
			if err != nil || len(values) != len(w.Values) {
				t.Errorf("%s: %d values, %v", name, len(values), err)
				continue
			}
			for i, v := range values {
				if x := float32(parseNumber(t, w.Values[i])); math.Float32bits(x) != math.Float32bits(v) && (x == x || v == v) {
					t.Errorf("%s[%d] = %v, want %v", name, i, v, x)
				}
			}
		default:
			values, err := Int32s(got)
			if err != nil || len(values) != len(w.Values) {
				t.Errorf("%s: %d values, %v", name, len(values), err)
				continue
			}
			for i, v := range values {
				if x := parseNumber(t, w.Values[i]); float64(v) != x {
					t.Errorf("%s[%d] = %v, want %v", name, i, v, x)
				}
			}
		}
	}
}

// typeOfOther is the type of the golden tensors that are not called after it.
func typeOfOther(name string) DType {
	if name == "i64.large" {
		return I64
	}
	return F32
}

// parseNumber reads a JSON number, or Python's word for NaN and infinities.
func parseNumber(t *testing.T, v any) float64 {
	t.Helper()
	s, ok := v.(string)
	if !ok {
		s = v.(json.Number).String()
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Same tensors, same bytes as the reference implementation writes.
func TestRewritesPythonsBytes(t *testing.T) {
	f := openGolden(t)
	path := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Write(path, tensorsOf(t, f), f.Metadata()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, f.data) {
		t.Errorf("wrote\n%q, Python's safetensors\n%q", got, f.data)
	}
}

// A torch float and ours round alike.
func TestRoundsAsTorch(t *testing.T) {
	f := openGolden(t)
	wide, err := f.Tensor("f32")
	if err != nil {
		t.Fatal(err)
	}
	values, err := Float32s(wide)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bf16", "f16"} {
		want, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		got := FromFloat32s(name, want.DType, want.Shape, values)
		if !sameTensor(got, want) {
			t.Errorf("%s: % x, want % x", name, got.Data, want.Data)
		}
	}
}
