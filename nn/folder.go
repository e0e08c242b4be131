package nn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// saveFolder writes a Hugging Face model folder: weights, then config.json.
func saveFolder(dir string, c Config, tensors []safetensors.Lazy) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("model folder: %w", err)
	}
	if err := safetensors.WriteLazy(filepath.Join(dir, "model.safetensors"), tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "config.json"), c)
}

// writeJSON writes indented JSON, atomically.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	json.Indent(&out, data, "", "  ")
	out.WriteByte('\n')
	return atomicfile.WriteFile(path, out.Bytes())
}

// WriteRandom writes a model folder of random weights of a known shape, in the
// config's DType, tensor by tensor. Weights are those of NewRandom, rounded.
func WriteRandom(dir string, c Config, seed uint64) error {
	if err := c.Validate(); err != nil {
		return err
	}
	shape, err := newModel(nil, c, LoadOptions{})
	if err != nil {
		return err
	}
	var tensors []safetensors.Lazy
	for _, p := range shape.params {
		tensors = append(tensors, safetensors.Lazy{
			Name: p.Name, DType: fileDType(c.DType), Shape: p.Shape,
			WriteTo: func(w io.Writer) error {
				_, err := w.Write(encodeFloats(c.RandomWeights(p.Name, p.Shape, seed), c.DType))
				return err
			},
		})
	}
	return saveFolder(dir, c, tensors)
}

// encodeFloats rounds to a storage type, little-endian.
func encodeFloats(x []float32, d tensor.DType) []byte {
	out := make([]byte, 0, len(x)*d.Size())
	for _, v := range x {
		switch d {
		case tensor.BF16:
			out = binary.LittleEndian.AppendUint16(out, half.BF16FromFloat32(v))
		case tensor.F16:
			out = binary.LittleEndian.AppendUint16(out, half.F16FromFloat32(v))
		default:
			out, _ = binary.Append(out, binary.LittleEndian, v)
		}
	}
	return out
}
