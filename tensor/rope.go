package tensor

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// RopeScaling is the "llama3" rule for contexts longer than those of
// pretraining (Llama 3.1's release): frequencies of long wavelength are divided
// by Factor, those between the two limits are interpolated.
type RopeScaling struct {
	Factor, LowFreqFactor, HighFreqFactor float64
	OriginalMaxPosition                   int
}

// InverseFrequencies returns the headDim/2 rotation rates of RoPE with base
// theta; scaling may be nil. Every step is rounded to f32, as in the models' own
// code: at position 1,000 a rate's last bit is worth many of the angle's.
func InverseFrequencies(headDim int, theta float64, scaling *RopeScaling) []float32 {
	out := make([]float32, headDim/2)
	for i := range out {
		exponent := float32(2*i) / float32(headDim)
		out[i] = 1 / float32(math.Pow(theta, float64(exponent)))
		if scaling != nil {
			out[i] = scaling.apply(out[i])
		}
	}
	return out
}

func (s *RopeScaling) apply(f float32) float32 {
	context, low, high := float32(s.OriginalMaxPosition), float32(s.LowFreqFactor), float32(s.HighFreqFactor)
	wavelength := float32(2*math.Pi) / f
	switch {
	case wavelength > context/low:
		return f / float32(s.Factor)
	case wavelength < context/high:
		return f
	}
	smooth := (context/wavelength - low) / (high - low)
	slow := float32((1-smooth)*f) / float32(s.Factor)
	return slow + float32(smooth*f)
}

// RopeTable holds the cosines and sines of positions 0…MaxPos-1.
type RopeTable struct {
	Cos, Sin *Tensor // f32 [MaxPos, headDim/2]
	MaxPos   int
}

// NewRopeTable computes the table for given inverse frequencies. Angles are
// f32 products, as in the models' own code.
func NewRopeTable(d *Device, invFreq []float32, maxPos int) (*RopeTable, error) {
	half := len(invFreq)
	cos, sin := make([]float32, maxPos*half), make([]float32, maxPos*half)
	for p := range maxPos {
		for j, f := range invFreq {
			s, c := math.Sincos(float64(float32(p) * f))
			cos[p*half+j], sin[p*half+j] = float32(c), float32(s)
		}
	}
	t := &RopeTable{MaxPos: maxPos}
	var err error
	if t.Cos, err = d.FromFloat32s(cos, maxPos, half); err != nil {
		return nil, err
	}
	if t.Sin, err = d.FromFloat32s(sin, maxPos, half); err != nil {
		t.Cos.Free()
		return nil, err
	}
	return t, nil
}

// Free gives the table's memory back.
func (t *RopeTable) Free() {
	t.Cos.Free()
	t.Sin.Free()
}

// Rope rotates the heads of x [rows, heads, headDim] by the tape's positions.
func Rope(tp *Tape, x *Tensor, table *RopeTable) *Tensor {
	tp.mustBatch("rope", x.Dim(0))
	return RopeAt(tp, x, table, tp.Seqs.Positions)
}

// RopeAt is Rope with positions [rows] given.
func RopeAt(tp *Tape, x *Tensor, table *RopeTable, positions *Tensor) *Tensor {
	n := tp.rope(x, table, positions)
	tp.dev.backend.Rope(ropeArgs(n.out, x, table.Cos, table.Sin, positions))
	tp.record(n)
	return n.out
}

// RopePairAt is RopeAt of two tensors, of queries and keys, by one op.
func RopePairAt(tp *Tape, q, k *Tensor, table *RopeTable, positions *Tensor) (rq, rk *Tensor) {
	n, m := tp.rope(q, table, positions), tp.rope(k, table, positions)
	args := ropeArgs(n.out, q, table.Cos, table.Sin, positions)
	args.Y2, args.X2, args.Heads2 = m.out.buf, k.buf, k.Dim(1)
	tp.dev.backend.Rope(args)
	tp.record(n)
	tp.record(m)
	return n.out, m.out
}

// rope is the op, not yet done.
func (tp *Tape) rope(x *Tensor, table *RopeTable, positions *Tensor) node {
	if x.shape.n != 3 || x.Dim(2) != 2*table.Cos.Dim(1) || positions.Len() != x.Dim(0) {
		panic(fmt.Sprintf("rope: x %v, table %v, positions %v; want [rows, heads, headDim], [positions, headDim/2], [rows]",
			x.shape, table.Cos.shape, positions.shape))
	}
	mustContiguous("rope", x, table.Cos, table.Sin, positions)
	return node{out: tp.like(x, tp.Compute), inputs: inputs{x}, saved: saved{table.Cos, table.Sin, positions}, backward: ropeBackward}
}

func ropeBackward(tp *Tape, n *node, dy *Tensor) {
	x := n.inputs[0]
	dx := tp.like(x, F32)
	tp.dev.backend.RopeBackward(ropeArgs(dx, dy, n.saved[0], n.saved[1], n.saved[2]))
	tp.addGrad(x, dx)
}

func ropeArgs(y, x, cos, sin, positions *Tensor) kernels.RopeArgs {
	return kernels.RopeArgs{
		Y: y.buf, X: x.buf, Positions: positions.buf, Cos: cos.buf, Sin: sin.buf,
		Rows: y.Dim(0), Heads: y.Dim(1), HeadDim: y.Dim(2), MaxPos: cos.Dim(0),
	}
}
