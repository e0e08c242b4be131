package kerneltest

import (
	"github.com/selkie-ml/selkie/kernels"
)

// combos calls f with combinations of n float storages: every one, or (not all)
// the uniform ones and two mixed at random.
func (t *trial) combos(n int, all bool, f func(dt []kernels.DType)) {
	dts := make([]kernels.DType, n)
	if !all {
		for _, d := range t.opt.DTypes {
			for i := range dts {
				dts[i] = d
			}
			f(dts)
		}
		for range min(2, len(t.opt.DTypes)-1) {
			for i := range dts {
				dts[i] = t.opt.DTypes[t.rng.IntN(len(t.opt.DTypes))]
			}
			f(dts)
		}
		return
	}
	total := 1
	for range n {
		total *= len(t.opt.DTypes)
	}
	for c := range total {
		for i := range dts {
			dts[i] = t.opt.DTypes[c%len(t.opt.DTypes)]
			c /= len(t.opt.DTypes)
		}
		f(dts)
	}
}

// between returns a number in lo…hi.
func (t *trial) between(lo, hi int) int { return lo + t.rng.IntN(hi-lo+1) }

// indices returns n indices below limit, the first and last among them.
func (t *trial) indices(n, limit int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(t.rng.IntN(limit))
	}
	if n > 1 {
		v[t.rng.IntN(n)] = int32(limit - 1)
		v[0] = 0
	}
	return v
}

// startsOf returns the starts of sequences with the given lengths.
func startsOf(lengths ...int) []int32 {
	starts := []int32{0}
	for _, n := range lengths {
		starts = append(starts, starts[len(starts)-1]+int32(n))
	}
	return starts
}

// batches are sequence lengths that every op with sequences is tried on. One has every length
// modulo 8: sums take up to as many rows at once.
var batches = [][]int{{}, {0}, {1}, {3}, {0, 7, 0, 0, 1}, {2, 7, 1, 4, 0, 6, 8, 3, 5}, {33, 1, 18}}

func last(starts []int32) int { return int(starts[len(starts)-1]) }
