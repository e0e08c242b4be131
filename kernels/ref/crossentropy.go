package ref

import (
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// CrossEntropy implements kernels.Backend.
func (d *Backend) CrossEntropy(a kernels.CrossEntropyArgs) {
	const op = "CrossEntropy"
	targets := host.I32(a.Targets, a.Rows)
	for i, t := range targets {
		if int(t) >= a.Vocab {
			d.Fail(op, "row %d: target %d, want one below %d, or negative for none", i, t, a.Vocab)
			return
		}
	}
	var starts []int32
	if !a.DW.IsNil() {
		var ok bool
		if starts, ok = d.sequences(op, a.Starts, a.NSeq, a.Rows); !ok {
			return
		}
	}

	x, w := load(a.X, a.Rows*a.Dim), make([]float64, a.Dim)
	z := make([]float64, a.Rows*a.Vocab)
	for v := range a.Vocab {
		loadTo(w, a.W.At(v*a.Dim))
		for i, t := range targets {
			if t >= 0 {
				z[i*a.Vocab+v] = dot(x[i*a.Dim:][:a.Dim], w)
			}
		}
	}
	logProb := make([]float64, a.Rows)
	for i, t := range targets {
		if t >= 0 {
			z := z[i*a.Vocab:][:a.Vocab]
			logProb[i] = z[t] - logSumExp(z)
		}
	}
	store(a.LogProb, logProb)
	if a.DX.IsNil() && a.DW.IsNil() {
		return
	}

	g, weights := z, load(a.Weights, a.Rows)
	for i, t := range targets {
		if t >= 0 {
			g := g[i*a.Vocab:][:a.Vocab]
			lse := logSumExp(g)
			for v := range g {
				g[v] = weights[i] * math.Exp(g[v]-lse)
			}
			g[t] -= weights[i]
		}
	}
	dx, dw := make([]float64, a.Rows*a.Dim), make([]float64, a.Dim)
	for v := range a.Vocab {
		loadTo(w, a.W.At(v*a.Dim))
		for i, t := range targets {
			if t >= 0 {
				axpy(dx[i*a.Dim:][:a.Dim], g[i*a.Vocab+v], w)
			}
		}
		if a.DW.IsNil() {
			continue
		}
		for s := range a.NSeq {
			clear(dw)
			for i := int(starts[s]); i < int(starts[s+1]); i++ {
				if targets[i] >= 0 {
					axpy(dw, g[i*a.Vocab+v], x[i*a.Dim:][:a.Dim])
				}
			}
			accumulate(a.DW.At(v*a.Dim), dw)
		}
	}
	if !a.DX.IsNil() {
		store(a.DX, dx)
	}
}

// CrossEntropyScratch implements kernels.Backend.
func (d *Backend) CrossEntropyScratch(kernels.CrossEntropyArgs) int64 { return 0 }

// logSumExp returns log Σ exp(z[v]). NaN propagates.
func logSumExp(z []float64) float64 {
	m := slices.Max(z)
	if math.IsInf(m, 0) {
		return m
	}
	var sum float64
	for _, v := range z {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum)
}
