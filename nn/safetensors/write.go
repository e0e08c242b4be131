package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

// Lazy is a tensor whose bytes are produced when its turn comes, so that a model
// on a device need not be held on the host as a whole.
type Lazy struct {
	Name  string
	DType DType
	Shape []int
	// WriteTo writes exactly product(Shape)·DType.Size() bytes, row-major and
	// little-endian. It is called once, after the header was written.
	WriteTo func(w io.Writer) error
}

// Write replaces the file at path by one that holds the tensors and metadata
// (nil for none). The same input in any order gives the same bytes: tensors are
// sorted by element size, largest first, as the reference implementation does,
// then by name. The data is written straight from each Tensor.Data. The
// replacement is atomic: on any error the previous file stays.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	lazy := make([]Lazy, len(tensors))
	for i, t := range tensors {
		lazy[i] = Lazy{t.Name, t.DType, t.Shape, func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}}
	}
	return WriteLazy(path, lazy, metadata)
}

// WriteLazy is Write for tensors that are produced one by one, in the file's
// order.
func WriteLazy(path string, tensors []Lazy, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	slices.SortFunc(tensors, func(a, b Lazy) int {
		if a.DType != b.DType {
			return int(b.DType) - int(a.DType)
		}
		return strings.Compare(a.Name, b.Name)
	})
	head, sizes, err := buildHeader(tensors, metadata)
	if err != nil {
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	defer f.Abort()
	out := bufio.NewWriterSize(f, 1<<16)
	if _, err := out.Write(head); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	for i, t := range tensors {
		w := &exactWriter{w: out, left: sizes[i]}
		if err := t.WriteTo(w); err != nil {
			return fmt.Errorf("safetensors: %s: tensor %s: %w", path, quote(t.Name), err)
		}
		if w.left != 0 {
			return fmt.Errorf("safetensors: writing %s: tensor %s: expected %d bytes for shape %v of %v, got %d", path, quote(t.Name), sizes[i], t.Shape, t.DType, sizes[i]-w.left)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}

// exactWriter refuses more bytes than the header promises.
type exactWriter struct {
	w    io.Writer
	left int
}

func (e *exactWriter) Write(b []byte) (int, error) {
	if len(b) > e.left {
		return 0, fmt.Errorf("%d bytes more than its shape and dtype hold", len(b)-e.left)
	}
	n, err := e.w.Write(b)
	e.left -= n
	return n, err
}

// buildHeader returns the length, the JSON text and its padding, and every
// tensor's size in bytes.
func buildHeader(sorted []Lazy, metadata map[string]string) (head []byte, sizes []int, err error) {
	head = append(make([]byte, 8), '{')
	if metadata != nil {
		for k, v := range metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, nil, fmt.Errorf("metadata %s is not valid UTF-8", quote(k))
			}
		}
		head = fmt.Appendf(head, "%s:%s", jsonText(metadataKey), jsonText(metadata))
	}
	seen := make(map[string]bool, len(sorted))
	at := 0
	for _, t := range sorted {
		if t.DType.Size() == 0 {
			return nil, nil, fmt.Errorf("tensor %s has the dtype %v: expected one of %s", quote(t.Name), t.DType, knownDTypes())
		}
		if t.Name == metadataKey || !utf8.ValidString(t.Name) {
			return nil, nil, fmt.Errorf("%s cannot name a tensor: names are UTF-8 and not %s", quote(t.Name), metadataKey)
		}
		if seen[t.Name] {
			return nil, nil, fmt.Errorf("tensor %s is given twice", quote(t.Name))
		}
		seen[t.Name] = true
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", quote(t.Name), err)
		}
		if at > math.MaxInt-size {
			return nil, nil, fmt.Errorf("tensor %s: the file's size overflows", quote(t.Name))
		}
		if len(head) > len("01234567{") {
			head = append(head, ',')
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		head = fmt.Appendf(head, `%s:{"dtype":"%v","shape":%s,"data_offsets":[%d,%d]}`, jsonText(t.Name), t.DType, jsonText(shape), at, at+size)
		at += size
		sizes = append(sizes, size)
	}
	head = append(head, '}')
	for len(head)%8 != 0 { // the data begins aligned
		head = append(head, ' ')
	}
	if n := len(head) - 8; n > maxHeader {
		return nil, nil, fmt.Errorf("the header would take %d bytes, readers accept %d: split the file", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, sizes, nil
}

// jsonText is v in compact JSON, keys sorted, with < > & left as they are.
func jsonText(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("safetensors: " + err.Error()) // strings, ints and maps of them always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
