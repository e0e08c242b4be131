package ref

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// RMSNorm implements kernels.Backend.
func (d *Backend) RMSNorm(a kernels.RMSNormArgs) {
	w := load(a.W, a.Dim)
	for i := range a.Rows {
		x := load(a.X.At(i*a.Dim), a.Dim)
		if !a.Add.IsNil() {
			axpy(x, 1, load(a.Add.At(i*a.Dim), a.Dim))
			store(a.Sum.At(i*a.Dim), x)
			x = load(a.Sum.At(i*a.Dim), a.Dim)
		}
		r := rms(x, a.Eps)
		for c := range x {
			x[c] *= r * w[c]
		}
		store(a.Y.At(i*a.Dim), x)
	}
}

// rms returns 1/√(mean(x²) + eps).
func rms(x []float64, eps float32) float64 {
	return 1 / math.Sqrt(dot(x, x)/float64(len(x))+float64(eps))
}

// RMSNormBackward implements kernels.Backend.
func (d *Backend) RMSNormBackward(a kernels.RMSNormBackwardArgs) {
	var starts []int32
	if !a.DW.IsNil() {
		var ok bool
		if starts, ok = d.sequences("RMSNormBackward", a.Starts, a.NSeq, a.Rows); !ok {
			return
		}
	}
	w := load(a.W, a.Dim)
	x, dy := load(a.X, a.Rows*a.Dim), load(a.DY, a.Rows*a.Dim)
	g, dx := make([]float64, a.Dim), make([]float64, a.Dim)
	for i := range a.Rows {
		x, dy := x[i*a.Dim:][:a.Dim], dy[i*a.Dim:][:a.Dim]
		r := rms(x, a.Eps)
		for c := range g {
			g[c] = dy[c] * w[c]
		}
		mean := dot(g, x) / float64(a.Dim)
		for c := range dx {
			dx[c] = r * (g[c] - x[c]*r*r*mean)
		}
		if b := a.DX.At(i * a.Dim); a.Accumulate {
			accumulate(b, dx)
		} else {
			store(b, dx)
		}
		for c := range dy {
			dy[c] *= x[c] * r // row i's part of DW
		}
	}
	if !a.DW.IsNil() {
		for s := range a.NSeq {
			sum := make([]float64, a.Dim)
			for i := int(starts[s]); i < int(starts[s+1]); i++ {
				axpy(sum, 1, dy[i*a.Dim:][:a.Dim])
			}
			accumulate(a.DW, sum)
		}
	}
}
