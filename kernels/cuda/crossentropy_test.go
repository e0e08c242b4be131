package cuda_test

import (
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// loss runs CrossEntropy on rows first…last-1 of a batch of two sequences, the second from row 9 on.
func loss(d *desk, first, last, dim, vocab int, withDW bool) map[string][]float64 {
	const all, second = 70, 9
	rows := last - first
	part := func(dt kernels.DType, id uint64, width int, scale float64) kernels.Buffer {
		return d.put(dt, bf16Inputs(id, all*width, scale)[first*width:last*width])
	}
	targets := make([]int32, rows)
	for i := range targets {
		targets[i] = int32((first+i)*61%vocab - vocab/8*((first+i)%4/3))
	}
	starts := []int32{0, int32(rows)}
	if first < second && last > second {
		starts = []int32{0, int32(second - first), int32(rows)}
	}
	a := kernels.CrossEntropyArgs{LogProb: d.zeros(rows), DX: d.alloc(kernels.F32, rows*dim), X: part(d.half, 41, dim, 1), W: d.bf16(42, vocab*dim, 0.2),
		Targets: d.ints(targets...), Weights: part(kernels.F32, 43, 1, 1), Starts: d.ints(starts...), NSeq: len(starts) - 1, Rows: rows, Dim: dim, Vocab: vocab}
	if withDW {
		a.DW = d.zeros(vocab * dim)
	}
	a.Scratch = d.alloc(kernels.F32, int(d.b.CrossEntropyScratch(a)+3)/4)
	d.b.CrossEntropy(a)
	out := map[string][]float64{"logprob": d.get(a.LogProb, rows), "dx": d.get(a.DX, rows*dim)}
	if withDW {
		out["dw"] = d.get(a.DW, vocab*dim)
	}
	return out
}

// TestCrossEntropyAligned: at the alignment of real buffers, over more rows than a small
// tile has and many tiles of the vocabulary, results are right, accesses of shared memory
// have no conflicts, and rows have the same bits in less company.
func TestCrossEntropyAligned(t *testing.T) {
	for _, c := range []struct {
		half       kernels.DType
		dim, vocab int
		withDW     bool
	}{{kernels.BF16, 256, 4096, false}, {kernels.BF16, 40, 300, true}, {kernels.F32, 40, 300, true}} {
		t.Run(c.half.String(), func(t *testing.T) {
			beside(t, c.half, func(gpu, exact *desk) {
				got, want := loss(gpu, 0, 70, c.dim, c.vocab, c.withDW), loss(exact, 0, 70, c.dim, c.vocab, c.withDW)
				rounded := map[string]slack{}
				if c.half == kernels.BF16 {
					rounded["dx"] = slack{abs: 0x1p-9 * 2 * 0.2} // of g, whose magnitudes add up to 2 at most, times w
				}
				near(t, got, want, rounded)
				less := loss(gpu, 9, 50, c.dim, c.vocab, c.withDW) // a smaller tile
				if !slices.Equal(less["logprob"], got["logprob"][9:50]) || !slices.Equal(less["dx"], got["dx"][9*c.dim:50*c.dim]) {
					t.Error("rows have other bits in less company")
				}
			})
		})
	}
}
