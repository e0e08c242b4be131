package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sort"
)

// ErrNoTensor is wrapped by the error of a lookup that finds nothing.
var ErrNoTensor = errors.New("no such tensor")

// File is an open weight file. Its methods may be called concurrently, Close
// excepted.
type File struct {
	path   string
	header *header
	data   []byte // the whole file
	unmap  func() error
}

// Open maps and validates the file at path. While it is open the file must not
// be cut short by another program (replacing it by a rename, as Write does, is
// harmless).
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, explainOpen(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("safetensors: %s: expected a file, found a %s: give the path of a .safetensors file", path, kind(info.Mode()))
	}
	data, unmap := []byte(nil), func() error { return nil }
	if size := info.Size(); size > math.MaxInt {
		return nil, fmt.Errorf("safetensors: %s: %d bytes are more than this system can address: use a 64-bit system", path, size)
	} else if size > 0 { // nothing can be mapped of an empty file
		if data, unmap, err = mapFile(f, int(size)); err != nil {
			return nil, fmt.Errorf("safetensors: mapping %s (%d bytes) into memory: %w", path, size, err)
		}
	}
	file, err := Parse(path, data)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	file.unmap = unmap
	return file, nil
}

// Parse reads a weight file that is in memory already, such as an embedded one.
// name stands for the path in errors. Nothing is copied: tensors' Data alias
// data, and are aligned to their element size only when data is aligned to 8.
func Parse(name string, data []byte) (*File, error) {
	h, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", name, err)
	}
	return &File{path: name, header: h, data: data, unmap: func() error { return nil }}, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("safetensors: %s does not exist: check the path: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("safetensors: %s may not be read: change its permissions: %w", path, err)
	}
	return fmt.Errorf("safetensors: opening %s: %w", path, err)
}

func kind(m fs.FileMode) string {
	if m.IsDir() {
		return "folder"
	}
	return "special file (" + m.Type().String() + ")"
}

// Path returns the path given to Open, or the name given to Parse.
func (f *File) Path() string { return f.path }

// Names returns all tensor names, sorted.
func (f *File) Names() []string {
	names := make([]string, len(f.header.entries))
	for i, e := range f.header.entries {
		names[i] = e.name
	}
	return names
}

// Has tells whether the file holds a tensor of that name.
func (f *File) Has(name string) bool {
	_, ok := f.find(name)
	return ok
}

// Tensor returns the tensor of that name, or an error that wraps ErrNoTensor.
func (f *File) Tensor(name string) (Tensor, error) {
	e, ok := f.find(name)
	if !ok {
		return Tensor{}, fmt.Errorf("safetensors: %s: %w %s: %s", f.path, ErrNoTensor, quote(name), similar(name, f.Names()))
	}
	if f.data == nil {
		return Tensor{}, fmt.Errorf("safetensors: %s: tensor %s asked for after Close: %w", f.path, quote(name), fs.ErrClosed)
	}
	begin, end := f.header.dataAt+e.begin, f.header.dataAt+e.end
	return Tensor{Name: e.name, DType: e.dtype, Shape: slices.Clone(e.shape), Data: f.data[begin:end:end]}, nil
}

func (f *File) find(name string) (entry, bool) {
	es := f.header.entries
	i := sort.Search(len(es), func(i int) bool { return es[i].name >= name })
	if i == len(es) || es[i].name != name {
		return entry{}, false
	}
	return es[i], true
}

// Metadata returns the header's own strings, such as {"format": "pt"}; nil when
// there are none.
func (f *File) Metadata() map[string]string { return f.header.metadata }

// Close unmaps the file (of Parse it only drops the bytes). The Data of its tensors become invalid: touching them
// afterwards crashes the program. A second Close does nothing.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	f.data = nil
	if err := f.unmap(); err != nil {
		return fmt.Errorf("safetensors: unmapping %s: %w", f.path, err)
	}
	return nil
}
