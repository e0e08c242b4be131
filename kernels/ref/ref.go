// Package ref is the living definition of every op in package kernels: plain
// loops with float64 arithmetic over what the buffers hold, rounded once where
// a result is stored. Other backends are put on trial against it by package
// kerneltest. It must not import tensor or another backend.
package ref

import (
	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// Options configure a reference backend.
type Options struct {
	// Poison fills memory with NaN when it is handed out and when it is freed.
	Poison bool
	// Limit is the most bytes allocated at once; 0: none.
	Limit int64
}

// Backend is the reference implementation of kernels.Backend. One goroutine at
// a time may use it.
type Backend struct{ host.Device }

var _ kernels.Backend = (*Backend)(nil)

// New returns a reference backend. At most one Options may be given.
func New(opt ...Options) *Backend {
	d := new(Backend)
	for _, o := range opt {
		d.Poison, d.Limit = o.Poison, o.Limit
	}
	return d
}

// Name implements kernels.Backend.
func (d *Backend) Name() string { return "ref" }

// NumericsID implements kernels.Backend.
func (d *Backend) NumericsID() string { return "ref-1" }

// Close implements kernels.Backend.
func (d *Backend) Close() error {
	d.Trim()
	return nil
}

// load returns the n floats at a buffer, widened.
func load(b kernels.Buffer, n int) []float64 {
	x := make([]float64, n)
	loadTo(x, b)
	return x
}

// loadTo fills x with the floats at a buffer, widened.
func loadTo(x []float64, b kernels.Buffer) {
	switch b.DType {
	case kernels.BF16:
		for i, h := range host.U16(b, len(x)) {
			x[i] = float64(half.BF16ToFloat32(h))
		}
	case kernels.F16:
		for i, h := range host.U16(b, len(x)) {
			x[i] = float64(half.F16ToFloat32(h))
		}
	default:
		for i, f := range host.F32(b, len(x)) {
			x[i] = float64(f)
		}
	}
}

// store rounds x to float32 and to the buffer's storage, each to nearest even.
func store(b kernels.Buffer, x []float64) {
	switch b.DType {
	case kernels.BF16:
		for i, y := 0, host.U16(b, len(x)); i < len(x); i++ {
			y[i] = half.BF16FromFloat32(float32(x[i]))
		}
	case kernels.F16:
		for i, y := 0, host.U16(b, len(x)); i < len(x); i++ {
			y[i] = half.F16FromFloat32(float32(x[i]))
		}
	default:
		for i, y := 0, host.F32(b, len(x)); i < len(x); i++ {
			y[i] = float32(x[i])
		}
	}
}

// accumulate adds x to the floats at a buffer.
func accumulate(b kernels.Buffer, x []float64) {
	y := load(b, len(x))
	axpy(y, 1, x)
	store(b, y)
}

// dot returns Σ x[i]·y[i], in four interleaved sums: an order fixed by the length.
func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0 += x[i] * y[i]
		s1 += x[i+1] * y[i+1]
		s2 += x[i+2] * y[i+2]
		s3 += x[i+3] * y[i+3]
	}
	for ; i < len(x); i++ {
		s0 += x[i] * y[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// axpy adds a·x to y.
func axpy(y []float64, a float64, x []float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}
