package kerneltest

import (
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
	"github.com/selkie-ml/selkie/kernels/ref"
)

type loraClears struct{ *ref.Backend }

func (m loraClears) LoRA(a kernels.LoRAArgs) {
	set(m.Backend, a.H, a.Rows*a.MaxRank, 0)
	m.Backend.LoRA(a)
}

type loraScale struct{ *ref.Backend }

func (m loraScale) LoRA(a kernels.LoRAArgs) {
	a.Segments = editTable(m.Backend, a.Segments, a.NSeg*kernels.SegmentColumns, func(v []int32) {
		for i := range a.NSeg {
			v[i*kernels.SegmentColumns+5] = v[5]
		}
	})
	m.Backend.LoRA(a)
}

type loraExtends struct{ *ref.Backend }

func (m loraExtends) LoRA(a kernels.LoRAArgs) {
	a.Segments = editTable(m.Backend, a.Segments, a.NSeg*kernels.SegmentColumns, func(v []int32) {
		if a.NSeg > 0 {
			v[(a.NSeg-1)*kernels.SegmentColumns+1] = int32(a.Rows)
		}
	})
	m.Backend.LoRA(a)
}

type loraDescends struct{ *ref.Backend }

func (m loraDescends) LoRABackward(a kernels.LoRABackwardArgs) {
	n := a.NSeg
	a.NSeg = 1
	all := a.Segments
	for i := n - 1; i >= 0; i-- {
		a.Segments = all.At(i * kernels.SegmentColumns)
		m.Backend.LoRABackward(a)
	}
}

type loraDX struct{ *ref.Backend }

func (m loraDX) LoRABackward(a kernels.LoRABackwardArgs) {
	if !a.DX.IsNil() {
		set(m.Backend, a.DX, a.Rows*a.In, 0)
	}
	m.Backend.LoRABackward(a)
}

type loraScratch struct{ *ref.Backend }

func (m loraScratch) LoRABackwardScratch(kernels.LoRABackwardArgs) int64 { return 20 }
func (m loraScratch) LoRABackward(a kernels.LoRABackwardArgs) {
	set(m.Backend, a.Scratch, 6, 0)
	m.Backend.LoRABackward(a)
}

type loraMergeScale struct{ *ref.Backend }

func (m loraMergeScale) LoRAMerge(a kernels.LoRAMergeArgs) { a.Scale = 1; m.Backend.LoRAMerge(a) }

// attentionMask gives query i the keys up to i+1, by asking for it one row late.
type attentionMask struct{ *ref.Backend }

func (m attentionMask) Attention(a kernels.AttentionArgs) {
	m.Backend.Attention(a)
	starts, row, kv := host.I32(a.Starts, a.NSeq+1), a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	for s := range a.NSeq {
		first, n := int(starts[s]), int(starts[s+1]-starts[s])
		if n < 2 {
			continue
		}
		late, o := temp(m.Backend, a.Q.DType, n*row), temp(m.Backend, a.O.DType, n*row)
		set(m.Backend, late, row, 0)
		m.Copy(kernels.CopyArgs{Dst: late.At(row), Src: a.Q.At(first * row), Rows: 1, Cols: (n - 1) * row})
		m.Backend.Attention(kernels.AttentionArgs{O: o, Q: late, K: a.K.At(first * kv), V: a.V.At(first * kv), Starts: ints32(m.Backend, 0, int32(n)),
			NSeq: 1, Rows: n, Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Scale: a.Scale})
		m.Copy(kernels.CopyArgs{Dst: a.O.At(first * row), Src: o.At(row), Rows: 1, Cols: (n - 1) * row})
	}
}

type attentionCrosses struct{ *ref.Backend }

func (m attentionCrosses) Attention(a kernels.AttentionArgs) {
	a.Starts = together(m.Backend, a.Starts, &a.NSeq)
	m.Backend.Attention(a)
}

// attentionHeads lets query head h read KV head h mod KVHeads.
type attentionHeads struct{ *ref.Backend }

func (m attentionHeads) Attention(a kernels.AttentionArgs) {
	row, group := a.Heads*a.HeadDim, a.Heads/a.KVHeads
	q, o := temp(m.Backend, a.Q.DType, a.Rows*row), temp(m.Backend, a.O.DType, a.Rows*row)
	swap := func(dst, src kernels.Buffer, back bool) {
		for h := range a.Heads {
			from, to := h*a.HeadDim, (h%a.KVHeads*group+h/a.KVHeads)*a.HeadDim
			if back {
				from, to = to, from
			}
			m.Copy(kernels.CopyArgs{Dst: dst.At(to), Src: src.At(from), Rows: a.Rows, Cols: a.HeadDim, DstStride: row, SrcStride: row})
		}
	}
	swap(q, a.Q, false)
	swap(o, a.O, false)
	b := a
	b.Q, b.O, b.LSE = q, o, kernels.Buffer{}
	m.Backend.Attention(a)
	m.Backend.Attention(b)
	swap(a.O, o, true)
}

type attentionLSE struct{ *ref.Backend }

func (m attentionLSE) Attention(a kernels.AttentionArgs) {
	a.LSE = kernels.Buffer{}
	m.Backend.Attention(a)
}

type attentionTail struct{ *ref.Backend }

func (m attentionTail) Attention(a kernels.AttentionArgs) {
	set(m.Backend, a.O, a.Rows*a.Heads*a.HeadDim, 0)
	m.Backend.Attention(a)
}

// attentionSpreads makes a sequence's output NaN when one of its rows is.
type attentionSpreads struct{ *ref.Backend }

func (m attentionSpreads) Attention(a kernels.AttentionArgs) {
	m.Backend.Attention(a)
	if a.O.DType != kernels.F32 {
		return
	}
	starts, row := host.I32(a.Starts, a.NSeq+1), a.Heads*a.HeadDim
	for s := range a.NSeq {
		n := int(starts[s+1]-starts[s]) * row
		o := host.F32(a.O.At(int(starts[s])*row), n)
		if slices.ContainsFunc(o, func(x float32) bool { return x != x }) {
			set(m.Backend, a.O.At(int(starts[s])*row), n, float32(math.NaN()))
		}
	}
}

type attentionDelta struct{ *ref.Backend }

func (m attentionDelta) AttentionBackward(a kernels.AttentionBackwardArgs) {
	a.O = temp(m.Backend, kernels.F32, a.Rows*a.Heads*a.HeadDim)
	set(m.Backend, a.O, a.Rows*a.Heads*a.HeadDim, 0)
	m.Backend.AttentionBackward(a)
}

type attentionScale struct{ *ref.Backend }

func (m attentionScale) AttentionBackward(a kernels.AttentionBackwardArgs) {
	a.Scale = 1
	m.Backend.AttentionBackward(a)
}

type kvLayer struct{ *ref.Backend }

func (m kvLayer) KVStore(a kernels.KVStoreArgs) { a.Layer = 0; m.Backend.KVStore(a) }

type kvSwaps struct{ *ref.Backend }

func (m kvSwaps) KVStore(a kernels.KVStoreArgs) { a.K, a.V = a.V, a.K; m.Backend.KVStore(a) }

type kvPadding struct{ *ref.Backend }

func (m kvPadding) KVStore(a kernels.KVStoreArgs) {
	seqs := host.I32(a.RowSeq, a.Rows)
	a.RowPos = editTable(m.Backend, a.RowPos, a.Rows, func(v []int32) {
		for i := range v {
			if seqs[i] < 0 {
				v[i] = 3
			}
		}
	})
	a.RowSeq = editTable(m.Backend, a.RowSeq, a.Rows, func(v []int32) {
		for i := range v {
			v[i] = max(0, v[i])
		}
	})
	m.Backend.KVStore(a)
}

type pagedShort struct{ *ref.Backend }

func (m pagedShort) AttentionPaged(a kernels.AttentionPagedArgs) {
	a.RowPos = editTable(m.Backend, a.RowPos, a.Rows, func(v []int32) {
		for i := range v {
			v[i] = max(0, v[i]-1)
		}
	})
	m.Backend.AttentionPaged(a)
}

type pagedBit struct{ *ref.Backend }

func (m pagedBit) AttentionPaged(a kernels.AttentionPagedArgs) {
	m.Backend.AttentionPaged(a)
	if host.I32(a.RowPos, a.Rows)[0] > 100 {
		nudge(a.O)
	}
}

type swigluSwaps struct{ *ref.Backend }

func (m swigluSwaps) SwiGLU(a kernels.SwiGLUArgs) {
	a.Gate, a.Up = a.Up, a.Gate
	m.Backend.SwiGLU(a)
}

type swigluAlias struct{ *ref.Backend }

func (m swigluAlias) SwiGLUBackward(a kernels.SwiGLUBackwardArgs) {
	b := a
	b.DUp = temp(m.Backend, kernels.F32, a.N)
	m.Backend.SwiGLUBackward(b)
	a.DGate = temp(m.Backend, kernels.F32, a.N)
	m.Backend.SwiGLUBackward(a)
}

type lossWeights struct{ *ref.Backend }

func (m lossWeights) CrossEntropy(a kernels.CrossEntropyArgs) {
	a.Weights = temp(m.Backend, kernels.F32, a.Rows)
	set(m.Backend, a.Weights, a.Rows, 1)
	m.Backend.CrossEntropy(a)
}

type lossOverwrites struct{ *ref.Backend }

func (m lossOverwrites) CrossEntropy(a kernels.CrossEntropyArgs) {
	if !a.DW.IsNil() {
		set(m.Backend, a.DW, a.Vocab*a.Dim, 0)
	}
	m.Backend.CrossEntropy(a)
}

type lossMasks struct{ *ref.Backend }

func (m lossMasks) CrossEntropy(a kernels.CrossEntropyArgs) {
	targets, logProb := host.I32(a.Targets, a.Rows), a.LogProb
	if !a.Weights.IsNil() {
		a.Weights = editF32(m.Backend, a.Weights, a.Rows, func(w []float32) {
			for i := range w {
				if targets[i] < 0 {
					w[i] = 0
				}
			}
		})
	}
	a.Targets = editTable(m.Backend, a.Targets, a.Rows, func(v []int32) {
		for i := range v {
			v[i] = max(0, v[i])
		}
	})
	m.Backend.CrossEntropy(a)
	for i, t := range targets {
		if t < 0 {
			set(m.Backend, logProb.At(i), 1, 0)
		}
	}
}

type lossTogether struct{ *ref.Backend }

func (m lossTogether) CrossEntropy(a kernels.CrossEntropyArgs) {
	a.Starts = together(m.Backend, a.Starts, &a.NSeq)
	m.Backend.CrossEntropy(a)
}

type normOverwrites struct{ *ref.Backend }

func (m normOverwrites) GradNorm(a kernels.GradNormArgs) {
	set(m.Backend, a.SumSquares, a.Groups, 0)
	m.Backend.GradNorm(a)
}

type normNegative struct{ *ref.Backend }

func (m normNegative) GradNorm(a kernels.GradNormArgs) {
	a.Table = editTable(m.Backend, a.Table, a.NParam*kernels.ParamColumns, func(v []int32) {
		for i := 0; i < len(v); i += kernels.ParamColumns {
			v[i] = max(0, v[i])
		}
	})
	m.Backend.GradNorm(a)
}

// adamSettings changes one column of every group's settings.
func adamSettings(r *ref.Backend, a kernels.AdamWArgs, column int, v float32) kernels.Buffer {
	return editF32(r, a.Settings, a.Groups*kernels.AdamColumns, func(s []float32) {
		for g := range a.Groups {
			s[g*kernels.AdamColumns+column] = v
		}
	})
}

type adamClip struct{ *ref.Backend }

func (m adamClip) AdamW(a kernels.AdamWArgs) {
	a.Settings = adamSettings(m.Backend, a, kernels.AdamMaxNorm, 0)
	m.Backend.AdamW(a)
}

type adamGrad struct{ *ref.Backend }

func (m adamGrad) AdamW(a kernels.AdamWArgs) {
	settings := host.F32(a.Settings, a.Groups*kernels.AdamColumns)
	a.Table = editTable(m.Backend, a.Table, a.NParam*kernels.ParamColumns, func(v []int32) {
		for i := 0; i < len(v); i += kernels.ParamColumns {
			if v[i] >= 0 && settings[int(v[i])*kernels.AdamColumns+kernels.AdamActive] == 0 {
				v[i] = -1
			}
		}
	})
	m.Backend.AdamW(a)
}

type adamFinite struct{ *ref.Backend }

func (m adamFinite) AdamW(a kernels.AdamWArgs) {
	a.SumSquares = editF32(m.Backend, a.SumSquares, a.Groups, func(v []float32) {
		for i := range v {
			if v[i]-v[i] != 0 {
				v[i] = math.MaxFloat32
			}
		}
	})
	m.Backend.AdamW(a)
}

type adamDecay struct{ *ref.Backend }

func (m adamDecay) AdamW(a kernels.AdamWArgs) {
	a.Table = editTable(m.Backend, a.Table, a.NParam*kernels.ParamColumns, func(v []int32) {
		for i := 0; i < len(v); i += kernels.ParamColumns {
			v[i+3] = 1
		}
	})
	m.Backend.AdamW(a)
}

// sampleTies gives the last of equal logits in greedy rows.
type sampleTies struct{ *ref.Backend }

func (m sampleTies) Sample(a kernels.SampleArgs) {
	m.Backend.Sample(a)
	ids, settings := host.I32(a.IDs, a.Rows), host.F32(a.Settings, a.Rows*kernels.SampleColumns)
	for i, id := range ids {
		z := host.F32(a.Logits.At(i*a.Vocab), a.Vocab)
		if settings[i*kernels.SampleColumns+kernels.SampleTemperature] == 0 && id >= 0 {
			for v := range z {
				if z[v] == z[id] {
					ids[i] = int32(v)
				}
			}
		}
	}
}

type sampleCounter struct{ *ref.Backend }

func (m sampleCounter) Sample(a kernels.SampleArgs) {
	a.Draws = editTable(m.Backend, a.Draws, a.Rows*kernels.DrawColumns, func(v []int32) {
		for i := kernels.DrawCounter; i < len(v); i += kernels.DrawColumns {
			v[i] = 0
		}
	})
	m.Backend.Sample(a)
}

type sampleTopP struct{ *ref.Backend }

func (m sampleTopP) Sample(a kernels.SampleArgs) {
	a.Settings = sampleSettings(m.Backend, a, kernels.SampleTopP, 1)
	m.Backend.Sample(a)
}

type sampleTopK struct{ *ref.Backend }

func (m sampleTopK) Sample(a kernels.SampleArgs) {
	a.Settings = sampleSettings(m.Backend, a, kernels.SampleTopK, 0)
	m.Backend.Sample(a)
}

func sampleSettings(r *ref.Backend, a kernels.SampleArgs, column int, v float32) kernels.Buffer {
	return editF32(r, a.Settings, a.Rows*kernels.SampleColumns, func(s []float32) {
		for i := column; i < len(s); i += kernels.SampleColumns {
			s[i] = v
		}
	})
}

type memoryLeaks struct{ *ref.Backend }

func (m memoryLeaks) Free(kernels.Mem) {}

type memoryTwice struct {
	*ref.Backend
	last kernels.Mem
}

func (m *memoryTwice) Alloc(n int64) (kernels.Mem, error) {
	if m.last != nil && m.last.Size() >= n {
		return m.last, nil
	}
	var err error
	m.last, err = m.Backend.Alloc(n)
	return m.last, err
}

type errorsLost struct{ *ref.Backend }

func (m errorsLost) Sync() error { m.Backend.Sync(); return nil }

type errorsStay struct {
	*ref.Backend
	err error
}

func (m *errorsStay) Sync() error {
	if err := m.Backend.Sync(); err != nil {
		m.err = err
	}
	return m.err
}

type mapShifts struct{ *ref.Backend }

func (m mapShifts) MapHost(data []byte) (kernels.Mem, error) {
	return m.Backend.MapHost(append([]byte{1, 2, 3, 4}, data...))
}
