// Package ptxcase reads and runs test cases of kernels: a folder with kernel.ptx,
// case.json (launch and comparison) and data.safetensors (inputs, initial outputs,
// expectations). It must not import nn: it reads the little of the safetensors
// format that it needs.
package ptxcase

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// A Case is one kernel with its launch and what it should compute.
type Case struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Target      string   `json:"target"`
	Entry       string   `json:"entry"`
	Grid        [3]int   `json:"grid"`
	Block       [3]int   `json:"block"`
	Cluster     *[3]int  `json:"cluster"`
	DynamicSmem int      `json:"dynamic_smem"`
	Params      []Param  `json:"params"`
	Outputs     []Output `json:"outputs"`
	Globals     []Global `json:"globals"`

	Dir     string            `json:"-"`
	Tensors map[string]Tensor `json:"-"`
}

// Param is a kernel parameter: buffer, scalar, struct, null or tensormap.
type Param struct {
	Kind   string      `json:"kind"`
	Tensor string      `json:"tensor"`
	Type   string      `json:"type"`
	Value  json.Number `json:"value"`
	Size   int         `json:"size"`
	Offset int         `json:"offset"`
	Fields []Param     `json:"fields"`

	DType         string   `json:"dtype"`
	Rank          int      `json:"rank"`
	GlobalDim     []uint64 `json:"global_dim"`
	GlobalStride  []uint64 `json:"global_stride"`
	BoxDim        []uint32 `json:"box_dim"`
	ElementStride []uint32 `json:"element_stride"`
	Interleave    string   `json:"interleave"`
	Swizzle       string   `json:"swizzle"`
	OOBFill       string   `json:"oob_fill"`
}

// Output is a buffer to compare after the launch.
type Output struct {
	Param  int     `json:"param"`
	Field  *int    `json:"field"`
	Expect string  `json:"expect"`
	ATol   float64 `json:"atol"`
	RTol   float64 `json:"rtol"`
	Exact  bool    `json:"exact"`
}

// Global is a module variable to fill before the launch.
type Global struct {
	Symbol string `json:"symbol"`
	Tensor string `json:"tensor"`
}

// Tensor is an array of data.safetensors.
type Tensor struct {
	DType string
	Shape []int
	Data  []byte
}

// Open reads a case.
func Open(dir string) (*Case, error) {
	b, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return nil, err
	}
	c := &Case{Dir: dir}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "case.json"), err)
	}
	if c.Tensors, err = readTensors(filepath.Join(dir, "data.safetensors")); err != nil {
		return nil, err
	}
	return c, nil
}

func readTensors(path string) (map[string]Tensor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bad := func(what string) error { return fmt.Errorf("%s: %s", path, what) }
	if len(b) < 8 {
		return nil, bad("shorter than the 8 bytes of the header's length")
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8) {
		return nil, bad("the header is longer than the file")
	}
	var head map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &head); err != nil {
		return nil, bad(err.Error())
	}
	data := b[8+n:]
	out := map[string]Tensor{}
	for name, raw := range head {
		if name == "__metadata__" {
			continue
		}
		var t struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, bad(name + ": " + err.Error())
		}
		if t.Offsets[0] < 0 || t.Offsets[0] > t.Offsets[1] || t.Offsets[1] > len(data) {
			return nil, bad(fmt.Sprintf("%s: offsets %v are outside of the file", name, t.Offsets))
		}
		out[name] = Tensor{DType: t.DType, Shape: t.Shape, Data: data[t.Offsets[0]:t.Offsets[1]]}
	}
	return out, nil
}

// Module parses kernel.ptx.
func (c *Case) Module() (*ptx.Module, error) {
	return ptx.ParseFile(filepath.Join(c.Dir, "kernel.ptx"))
}

// A Run is a launch of a case on a device.
type Run struct {
	c       *Case
	dev     *emu.Device
	mod     *emu.Module
	buffers map[string]emu.Ptr
}

// Prepare loads the module and the buffers on a device.
func (c *Case) Prepare(dev *emu.Device, m *ptx.Module) (*Run, error) {
	mod, err := dev.Load(m)
	if err != nil {
		return nil, err
	}
	r := &Run{c: c, dev: dev, mod: mod, buffers: map[string]emu.Ptr{}}
	for _, g := range c.Globals {
		if err := mod.SetGlobal(g.Symbol, c.Tensors[g.Tensor].Data); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Launch runs the kernel once.
func (r *Run) Launch() error {
	c := r.c
	var args []any
	for i, p := range c.Params {
		a, err := r.arg(p)
		if err != nil {
			return fmt.Errorf("%s: parameter %d: %w", c.Name, i, err)
		}
		args = append(args, a)
	}
	l := emu.Launch{Kernel: c.Entry, Grid: c.Grid, Block: c.Block, Shared: c.DynamicSmem}
	if c.Cluster != nil {
		l.Cluster = *c.Cluster
	}
	return r.mod.Launch(l, args...)
}

// Close frees the buffers.
func (r *Run) Close() error {
	for _, p := range r.buffers {
		if err := r.dev.Free(p); err != nil {
			return err
		}
	}
	r.buffers = nil
	return nil
}

func (r *Run) buffer(name string) (emu.Ptr, error) {
	if p, ok := r.buffers[name]; ok {
		return p, nil
	}
	t, ok := r.c.Tensors[name]
	if !ok {
		return 0, fmt.Errorf("data.safetensors has no tensor %q", name)
	}
	p, err := r.dev.Alloc(len(t.Data))
	if err != nil {
		return 0, err
	}
	r.buffers[name] = p
	return p, r.dev.CopyIn(p, t.Data)
}

func (r *Run) arg(p Param) (any, error) {
	switch p.Kind {
	case "buffer":
		return r.buffer(p.Tensor)
	case "null":
		return emu.Ptr(0), nil
	case "scalar":
		return scalar(p)
	case "struct":
		b := make([]byte, p.Size)
		for i, f := range p.Fields {
			a, err := r.arg(f)
			if err != nil {
				return nil, fmt.Errorf("field %d: %w", i, err)
			}
			v := make([]byte, 0, 8)
			if ptr, ok := a.(emu.Ptr); ok {
				a = uint64(ptr)
			}
			if v, err = binary.Append(v, binary.LittleEndian, a); err != nil {
				return nil, err
			}
			if f.Offset < 0 || f.Offset+len(v) > len(b) {
				return nil, fmt.Errorf("field %d lies outside of the %d bytes", i, p.Size)
			}
			copy(b[f.Offset:], v)
		}
		return emu.Bytes(b), nil
	case "tensormap":
		return r.tensorMap(p)
	}
	return nil, fmt.Errorf("kind %q is not known", p.Kind)
}

func scalar(p Param) (any, error) {
	s := p.Value.String()
	switch p.Type {
	case "f32", "f64":
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, err
		}
		if p.Type == "f32" {
			return float32(v), nil
		}
		return v, nil
	}
	var u uint64
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		u = uint64(v)
	} else if u, err = strconv.ParseUint(s, 10, 64); err != nil {
		return nil, err
	}
	switch p.Type {
	case "u8", "s8":
		return uint8(u), nil
	case "u16", "s16":
		return uint16(u), nil
	case "u32", "s32":
		return uint32(u), nil
	case "u64", "s64":
		return u, nil
	}
	return nil, fmt.Errorf("type %q is not known", p.Type)
}

var elems = map[string]emu.TensorElem{"u8": emu.ElemU8, "u16": emu.ElemU16, "u32": emu.ElemU32, "s32": emu.ElemS32, "u64": emu.ElemU64, "s64": emu.ElemS64,
	"f16": emu.ElemF16, "f32": emu.ElemF32, "f64": emu.ElemF64, "bf16": emu.ElemBF16, "tf32": emu.ElemTF32}

var swizzles = map[string]emu.TensorSwizzle{"none": emu.SwizzleNone, "32B": emu.Swizzle32, "64B": emu.Swizzle64, "128B": emu.Swizzle128}

func (r *Run) tensorMap(p Param) (any, error) {
	ptr, err := r.buffer(p.Tensor)
	if err != nil {
		return nil, err
	}
	elem, ok := elems[p.DType]
	sw, ok2 := swizzles[p.Swizzle]
	if !ok || !ok2 || p.Interleave != "none" || p.Rank < 1 || p.Rank > 5 || len(p.GlobalDim) < p.Rank || len(p.BoxDim) < p.Rank || len(p.GlobalStride) < p.Rank-1 {
		return nil, fmt.Errorf("tensor map with dtype %q, rank %d, swizzle %q, interleave %q is not known", p.DType, p.Rank, p.Swizzle, p.Interleave)
	}
	m := emu.TensorMap{Elem: elem, Rank: p.Rank, Addr: uint64(ptr), Swizzle: sw, OOBNaN: p.OOBFill == "nan"}
	m.Stride[0] = uint64(elem.Bytes())
	for d := range p.Rank {
		m.Dim[d], m.Box[d], m.Step[d] = p.GlobalDim[d], p.BoxDim[d], 1
		if d < len(p.ElementStride) {
			m.Step[d] = p.ElementStride[d]
		}
		if d > 0 {
			m.Stride[d] = p.GlobalStride[d-1]
		}
	}
	b, err := m.Encode()
	return emu.Bytes(b[:]), err
}

// Compare compares the outputs with the expectations; the error names the first
// elements that differ.
func (r *Run) Compare() error {
	for _, o := range r.c.Outputs {
		p := r.c.Params[o.Param]
		if o.Field != nil {
			p = p.Fields[*o.Field]
		}
		want, ok := r.c.Tensors[o.Expect]
		if !ok {
			return fmt.Errorf("%s: data.safetensors has no tensor %q", r.c.Name, o.Expect)
		}
		got := make([]byte, len(want.Data))
		if err := r.dev.CopyOut(got, r.buffers[p.Tensor]); err != nil {
			return err
		}
		if err := compare(got, want, o); err != nil {
			return fmt.Errorf("%s: output %s: %w", r.c.Name, o.Expect, err)
		}
	}
	return nil
}

// Output is the contents of an output buffer, by its place in Outputs.
func (r *Run) Output(i int) ([]byte, error) {
	o := r.c.Outputs[i]
	p := r.c.Params[o.Param]
	if o.Field != nil {
		p = p.Fields[*o.Field]
	}
	b := make([]byte, len(r.c.Tensors[p.Tensor].Data))
	return b, r.dev.CopyOut(b, r.buffers[p.Tensor])
}

func compare(got []byte, want Tensor, o Output) error {
	size, value := elemOf(want.DType)
	if size == 0 {
		return fmt.Errorf("dtype %s is not known", want.DType)
	}
	bad := 0
	var first string
	for i := 0; i < len(got); i += size {
		g, w := got[i:i+size], want.Data[i:i+size]
		if string(g) == string(w) {
			continue
		}
		if value != nil {
			a, b := value(g), value(w)
			if a != a && b != b {
				continue
			}
			if !o.Exact && (a == b || math.Abs(a-b) <= o.ATol+o.RTol*math.Abs(b)) {
				continue
			}
			if bad == 0 {
				first = fmt.Sprintf("element %d is %v, want %v (atol %g, rtol %g, exact %v)", i/size, a, b, o.ATol, o.RTol, o.Exact)
			}
		} else if bad == 0 {
			first = fmt.Sprintf("element %d is 0x%x, want 0x%x", i/size, reversed(g), reversed(w))
		}
		bad++
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d elements differ: %s", bad, len(got)/size, first)
	}
	return nil
}

func reversed(b []byte) []byte {
	r := make([]byte, len(b))
	for i := range b {
		r[len(b)-1-i] = b[i]
	}
	return r
}

// elemOf gives the size of an element and its value, nil for integers.
func elemOf(dtype string) (int, func(b []byte) float64) {
	le := binary.LittleEndian
	switch dtype {
	case "U8", "I8", "BOOL":
		return 1, nil
	case "U16", "I16":
		return 2, nil
	case "U32", "I32":
		return 4, nil
	case "U64", "I64":
		return 8, nil
	case "F16":
		return 2, func(b []byte) float64 { return half(le.Uint16(b)) }
	case "BF16":
		return 2, func(b []byte) float64 { return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16)) }
	case "F32":
		return 4, func(b []byte) float64 { return float64(math.Float32frombits(le.Uint32(b))) }
	case "F64":
		return 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) }
	case "F8_E4M3":
		return 1, func(b []byte) float64 { return minifloat(uint(b[0]), 4, 3, false) }
	case "F8_E5M2":
		return 1, func(b []byte) float64 { return minifloat(uint(b[0]), 5, 2, true) }
	}
	return 0, nil
}

func half(h uint16) float64 { return minifloat(uint(h), 5, 10, true) }

// minifloat is the value of a small binary float; without infinities, only the topmost code is NaN.
func minifloat(b, exp, man uint, inf bool) float64 {
	m, e := b&(1<<man-1), b>>man&(1<<exp-1)
	bias := int(1)<<(exp-1) - 1
	v := 0.0
	switch {
	case e == 1<<exp-1 && inf:
		v = math.Inf(1)
		if m != 0 {
			v = math.NaN()
		}
	case e == 1<<exp-1 && m == 1<<man-1:
		v = math.NaN()
	case e == 0:
		v = math.Ldexp(float64(m), 1-bias-int(man))
	default:
		v = math.Ldexp(float64(m|1<<man), int(e)-bias-int(man))
	}
	if b>>(exp+man)&1 != 0 {
		v = -v
	}
	return v
}
