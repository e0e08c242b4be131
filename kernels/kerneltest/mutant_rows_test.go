package kerneltest

import (
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
	"github.com/selkie-ml/selkie/kernels/ref"
)

type copyTruncates struct{ *ref.Backend }

func (m copyTruncates) Copy(a kernels.CopyArgs) {
	m.Backend.Copy(a)
	if a.Dst.DType == kernels.BF16 && a.Src.DType == kernels.F32 && a.Rows > 0 {
		for c, x := range host.F32(a.Src, a.Cols) {
			host.U16(a.Dst, a.Cols)[c] = uint16(math.Float32bits(x) >> 16)
		}
	}
}

type copyGaps struct{ *ref.Backend }

func (m copyGaps) Copy(a kernels.CopyArgs) {
	if a.Rows > 0 {
		set(m.Backend, a.Dst, (a.Rows-1)*a.DstStride, 0)
	}
	m.Backend.Copy(a)
}

type fillBeyond struct{ *ref.Backend }

func (m fillBeyond) Fill(a kernels.FillArgs) { a.N++; m.Backend.Fill(a) }

type fillShort struct{ *ref.Backend }

func (m fillShort) Fill(a kernels.FillArgs) { a.N = max(0, a.N-1); m.Backend.Fill(a) }

type gatherOrder struct{ *ref.Backend }

func (m gatherOrder) Gather(a kernels.GatherArgs) {
	a.Index = editTable(m.Backend, a.Index, a.Rows, func(v []int32) {
		for i := range v {
			v[i] = int32(i % a.SrcRows)
		}
	})
	m.Backend.Gather(a)
}

type addClears struct{ *ref.Backend }

func (m addClears) Add(a kernels.AddArgs) { set(m.Backend, a.Dst, a.N, 0); m.Backend.Add(a) }

type embeddingClamps struct{ *ref.Backend }

func (m embeddingClamps) Embedding(a kernels.EmbeddingArgs) {
	a.IDs = editTable(m.Backend, a.IDs, a.Rows, func(v []int32) {
		for i := range v {
			v[i] = max(0, min(v[i], int32(a.Vocab-1)))
		}
	})
	m.Backend.Embedding(a)
}

type embeddingOverwrites struct{ *ref.Backend }

func (m embeddingOverwrites) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	set(m.Backend, a.DTable, a.Vocab*a.Dim, 0)
	m.Backend.EmbeddingBackward(a)
}

type embeddingTogether struct{ *ref.Backend }

func (m embeddingTogether) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	a.Starts = together(m.Backend, a.Starts, &a.NSeq)
	m.Backend.EmbeddingBackward(a)
}

type rmsnormEps struct{ *ref.Backend }

func (m rmsnormEps) RMSNorm(a kernels.RMSNormArgs) { a.Eps = 0; m.Backend.RMSNorm(a) }

type rmsnormRows struct{ *ref.Backend }

func (m rmsnormRows) RMSNorm(a kernels.RMSNormArgs) {
	m.Backend.RMSNorm(a)
	if a.Rows > 3 {
		nudge(a.Y)
	}
}

type rmsnormAdd struct{ *ref.Backend }

func (m rmsnormAdd) RMSNorm(a kernels.RMSNormArgs) {
	a.Add, a.Sum = kernels.Buffer{}, kernels.Buffer{}
	m.Backend.RMSNorm(a)
}

type rmsnormAccumulate struct{ *ref.Backend }

func (m rmsnormAccumulate) RMSNormBackward(a kernels.RMSNormBackwardArgs) {
	a.Accumulate = false
	m.Backend.RMSNormBackward(a)
}

type rmsnormTogether struct{ *ref.Backend }

func (m rmsnormTogether) RMSNormBackward(a kernels.RMSNormBackwardArgs) {
	if !a.DW.IsNil() {
		a.Starts = together(m.Backend, a.Starts, &a.NSeq)
	}
	m.Backend.RMSNormBackward(a)
}

type ropePair struct{ *ref.Backend }

func (m ropePair) Rope(a kernels.RopeArgs) {
	a.Heads2 = 0
	m.Backend.Rope(a)
}

type ropeSign struct{ *ref.Backend }

func (m ropeSign) Rope(a kernels.RopeArgs)         { m.Backend.RopeBackward(a) }
func (m ropeSign) RopeBackward(a kernels.RopeArgs) { m.Backend.Rope(a) }

type linearBias struct{ *ref.Backend }

func (m linearBias) Linear(a kernels.LinearArgs) { a.Bias = kernels.Buffer{}; m.Backend.Linear(a) }

type linearRows struct{ *ref.Backend }

func (m linearRows) Linear(a kernels.LinearArgs) {
	m.Backend.Linear(a)
	if a.Rows%2 == 1 {
		nudge(a.Y)
	}
}

type linearAlign struct{ *ref.Backend }

func (m linearAlign) Linear(a kernels.LinearArgs) {
	m.Backend.Linear(a)
	if a.X.Offset%8 == 4 && a.Rows > 0 {
		nudge(a.Y)
	}
}

type linearStale struct{ *ref.Backend }

func (m linearStale) Linear(a kernels.LinearArgs) {
	if a.Rows == 0 || a.Y.DType != kernels.F32 {
		m.Backend.Linear(a)
		return
	}
	old := host.F32(a.Y, 1)[0]
	m.Backend.Linear(a)
	if old == old {
		nudge(a.Y)
	}
}

type linearInput struct{ *ref.Backend }

func (m linearInput) Linear(a kernels.LinearArgs) {
	m.Backend.Linear(a)
	set(m.Backend, a.X, min(1, a.Rows), 0)
}

type linearOff struct{ *ref.Backend }

func (m linearOff) Linear(a kernels.LinearArgs) {
	m.Backend.Linear(a)
	if a.Y.DType == kernels.F32 {
		for i := range host.F32(a.Y, a.Rows*a.Out) {
			host.F32(a.Y, a.Rows*a.Out)[i] *= 1.001
		}
	}
}

// linearPadding computes the last row with one input more, times zero.
type linearPadding struct{ *ref.Backend }

func (m linearPadding) Linear(a kernels.LinearArgs) {
	m.Backend.Linear(a)
	if a.Rows > 0 && a.X.DType == kernels.F32 && a.Y.DType == kernels.F32 {
		beyond := host.F32(a.X.At(a.Rows*a.In), 1)[0]
		host.F32(a.Y.At(a.Rows*a.Out-1), 1)[0] += 0 * beyond
	}
}

type linearAccumulate struct{ *ref.Backend }

func (m linearAccumulate) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	a.Accumulate = false
	m.Backend.LinearBackwardInput(a)
}

type linearAlways struct{ *ref.Backend }

func (m linearAlways) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	a.Accumulate = true
	m.Backend.LinearBackwardInput(a)
}

type linearTogether struct{ *ref.Backend }

func (m linearTogether) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	a.Starts = together(m.Backend, a.Starts, &a.NSeq)
	m.Backend.LinearBackwardWeight(a)
}

type linearStarts struct{ *ref.Backend }

func (m linearStarts) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	s := host.I32(a.Starts, a.NSeq+1)
	if slices.IsSorted(s) && s[0] >= 0 && int(s[a.NSeq]) <= a.Rows {
		m.Backend.LinearBackwardWeight(a)
	}
}
