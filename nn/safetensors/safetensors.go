// Package safetensors reads and writes Hugging Face weight files
// (https://huggingface.co/docs/safetensors, "Format"): an 8-byte little-endian
// header length, a JSON header, and the tensors' bytes. Files are mapped into
// memory, not read, and validated completely before any tensor is handed out;
// they are written atomically. It knows nothing of tensors, models and backends,
// and must not import them.
package safetensors

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Tensor is one entry of a file. Data holds the elements in row-major order,
// little-endian; when it comes from a File it is read-only, aligned to the
// element size, and valid until that file's Close.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // no dimensions: a scalar
	Data  []byte
}

// NumElements returns the product of the shape, 1 for a scalar.
func (t Tensor) NumElements() int { return len(t.Data) / max(t.DType.Size(), 1) }

// Source is what File and Checkpoint have in common: tensors by name.
type Source interface {
	// Names returns all tensor names, sorted.
	Names() []string
	// Has tells whether Tensor(name) would find one.
	Has(name string) bool
	// Tensor returns the tensor of that name, or an error that wraps ErrNoTensor.
	Tensor(name string) (Tensor, error)
	// Close unmaps the files. All Data become invalid: touching them afterwards
	// crashes the program.
	Close() error
}

// byteSize returns product(shape)·size, or an error for a negative dimension or
// a product beyond the address space.
func byteSize(dtype DType, shape []int) (int, error) {
	n, empty := uint64(dtype.Size()), false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if d == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt {
			return 0, fmt.Errorf("shape %s of %v does not fit into memory: its size overflows", brief(fmt.Sprint(shape)), dtype)
		}
		n = lo
	}
	if empty {
		return 0, nil
	}
	return int(n), nil
}

// brief shortens what a broken file might make very long.
func brief(s string) string {
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// quote is %q of a possibly very long name.
func quote(name string) string { return fmt.Sprintf("%q", brief(name)) }

// similar names up to three tensors that share the end or the start of name, to
// help where a prefix such as "model." is missing.
func similar(name string, names []string) string {
	var found []string
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, n := range names {
		if strings.HasSuffix(n, name) || strings.HasSuffix(name, n) {
			found = append(found, n)
		}
	}
	for _, n := range names {
		if len(found) < 3 && last != "" && strings.Contains(n, last) && !slices.Contains(found, n) {
			found = append(found, n)
		}
	}
	if len(found) == 0 {
		found = names
	}
	if len(found) == 0 {
		return "it holds none"
	}
	quoted := make([]string, 0, 3)
	for _, n := range found[:min(3, len(found))] {
		quoted = append(quoted, quote(n))
	}
	return fmt.Sprintf("it holds %d, such as %s", len(names), strings.Join(quoted, ", "))
}
