package kerneltest

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
	"github.com/selkie-ml/selkie/kernels/ref"
)

// mutants are backends with one fault each, and the case that must notice.
var mutants = []struct {
	fault, caught string
	backend       func(*ref.Backend) kernels.Backend
}{
	{"Copy truncates instead of rounding", "Copy", func(r *ref.Backend) kernels.Backend { return copyTruncates{r} }},
	{"Copy writes between rows", "Copy", func(r *ref.Backend) kernels.Backend { return copyGaps{r} }},
	{"Fill writes one element too many", "Fill", func(r *ref.Backend) kernels.Backend { return fillBeyond{r} }},
	{"Fill writes one element too few", "Fill", func(r *ref.Backend) kernels.Backend { return fillShort{r} }},
	{"Gather ignores the index", "Gather", func(r *ref.Backend) kernels.Backend { return gatherOrder{r} }},
	{"Add clears its output before it reads", "Add", func(r *ref.Backend) kernels.Backend { return addClears{r} }},
	{"Embedding clamps ids", "Errors", func(r *ref.Backend) kernels.Backend { return embeddingClamps{r} }},
	{"EmbeddingBackward overwrites", "EmbeddingBackward", func(r *ref.Backend) kernels.Backend { return embeddingOverwrites{r} }},
	{"EmbeddingBackward sums sequences together", "EmbeddingBackward", func(r *ref.Backend) kernels.Backend { return embeddingTogether{r} }},
	{"RMSNorm forgets epsilon", "RMSNorm", func(r *ref.Backend) kernels.Backend { return rmsnormEps{r} }},
	{"RMSNorm depends on the number of rows", "RMSNorm", func(r *ref.Backend) kernels.Backend { return rmsnormRows{r} }},
	{"RMSNorm does not add", "RMSNorm", func(r *ref.Backend) kernels.Backend { return rmsnormAdd{r} }},
	{"RMSNormBackward ignores Accumulate", "RMSNormBackward", func(r *ref.Backend) kernels.Backend { return rmsnormAccumulate{r} }},
	{"RMSNormBackward sums sequences together", "RMSNormBackward", func(r *ref.Backend) kernels.Backend { return rmsnormTogether{r} }},
	{"Rope forgets the keys", "Rope", func(r *ref.Backend) kernels.Backend { return ropePair{r} }},
	{"Rope rotates backwards", "Rope", func(r *ref.Backend) kernels.Backend { return ropeSign{r} }},
	{"RopeBackward rotates forwards", "RopeBackward", func(r *ref.Backend) kernels.Backend { return ropeSign{r} }},
	{"Linear forgets the bias", "Linear", func(r *ref.Backend) kernels.Backend { return linearBias{r} }},
	{"Linear depends on the number of rows", "Linear", func(r *ref.Backend) kernels.Backend { return linearRows{r} }},
	{"Linear depends on alignment", "Linear", func(r *ref.Backend) kernels.Backend { return linearAlign{r} }},
	{"Linear reads its old output", "Linear", func(r *ref.Backend) kernels.Backend { return linearStale{r} }},
	{"Linear writes its input", "Linear", func(r *ref.Backend) kernels.Backend { return linearInput{r} }},
	{"Linear is off by a thousandth", "Linear", func(r *ref.Backend) kernels.Backend { return linearOff{r} }},
	{"Linear reads one input too many", "Linear", func(r *ref.Backend) kernels.Backend { return linearPadding{r} }},
	{"LinearBackwardInput ignores Accumulate", "LinearBackwardInput", func(r *ref.Backend) kernels.Backend { return linearAccumulate{r} }},
	{"LinearBackwardInput always accumulates", "LinearBackwardInput", func(r *ref.Backend) kernels.Backend { return linearAlways{r} }},
	{"LinearBackwardWeight sums sequences together", "LinearBackwardWeight", func(r *ref.Backend) kernels.Backend { return linearTogether{r} }},
	{"LinearBackwardWeight accepts any starts", "Errors", func(r *ref.Backend) kernels.Backend { return linearStarts{r} }},
	{"LoRA clears H beyond the rank", "LoRA", func(r *ref.Backend) kernels.Backend { return loraClears{r} }},
	{"LoRA uses the first scale for all", "LoRA", func(r *ref.Backend) kernels.Backend { return loraScale{r} }},
	{"LoRA adapts rows of no segment", "LoRA", func(r *ref.Backend) kernels.Backend { return loraExtends{r} }},
	{"LoRABackward takes segments in descending order", "LoRABackward", func(r *ref.Backend) kernels.Backend { return loraDescends{r} }},
	{"LoRABackward overwrites DX", "LoRABackward", func(r *ref.Backend) kernels.Backend { return loraDX{r} }},
	{"LoRABackward writes behind its scratch", "LoRABackward", func(r *ref.Backend) kernels.Backend { return loraScratch{r} }},
	{"LoRAMerge forgets the scale", "LoRAMerge", func(r *ref.Backend) kernels.Backend { return loraMergeScale{r} }},
	{"Attention sees one row too many", "Attention", func(r *ref.Backend) kernels.Backend { return attentionMask{r} }},
	{"Attention crosses sequences", "Attention", func(r *ref.Backend) kernels.Backend { return attentionCrosses{r} }},
	{"Attention deals KV heads in turn", "Attention", func(r *ref.Backend) kernels.Backend { return attentionHeads{r} }},
	{"Attention forgets LSE", "Attention", func(r *ref.Backend) kernels.Backend { return attentionLSE{r} }},
	{"Attention writes rows of no sequence", "Attention", func(r *ref.Backend) kernels.Backend { return attentionTail{r} }},
	{"Attention spreads a NaN within its sequence", "Attention", func(r *ref.Backend) kernels.Backend { return attentionSpreads{r} }},
	{"AttentionBackward forgets δ", "AttentionBackward", func(r *ref.Backend) kernels.Backend { return attentionDelta{r} }},
	{"AttentionBackward forgets the scale", "AttentionBackward", func(r *ref.Backend) kernels.Backend { return attentionScale{r} }},
	{"KVStore writes the first layer", "KVStore", func(r *ref.Backend) kernels.Backend { return kvLayer{r} }},
	{"KVStore swaps keys and values", "KVStore", func(r *ref.Backend) kernels.Backend { return kvSwaps{r} }},
	{"KVStore stores rows of no sequence", "KVStore", func(r *ref.Backend) kernels.Backend { return kvPadding{r} }},
	{"AttentionPaged misses the row itself", "AttentionPaged", func(r *ref.Backend) kernels.Backend { return pagedShort{r} }},
	{"AttentionPaged differs in the last bit", "PagedEqualsPrefill", func(r *ref.Backend) kernels.Backend { return pagedBit{r} }},
	{"SwiGLU swaps its inputs", "SwiGLU", func(r *ref.Backend) kernels.Backend { return swigluSwaps{r} }},
	{"SwiGLUBackward writes DGate before it has read DY", "SwiGLUBackward", func(r *ref.Backend) kernels.Backend { return swigluAlias{r} }},
	{"CrossEntropy ignores weights", "CrossEntropy", func(r *ref.Backend) kernels.Backend { return lossWeights{r} }},
	{"CrossEntropy overwrites DW", "CrossEntropy", func(r *ref.Backend) kernels.Backend { return lossOverwrites{r} }},
	{"CrossEntropy multiplies rows without a target by zero", "CrossEntropy", func(r *ref.Backend) kernels.Backend { return lossMasks{r} }},
	{"CrossEntropy sums sequences together", "CrossEntropy", func(r *ref.Backend) kernels.Backend { return lossTogether{r} }},
	{"GradNorm overwrites", "GradNorm", func(r *ref.Backend) kernels.Backend { return normOverwrites{r} }},
	{"GradNorm takes rows of no group", "GradNorm", func(r *ref.Backend) kernels.Backend { return normNegative{r} }},
	{"AdamW ignores clipping", "AdamW", func(r *ref.Backend) kernels.Backend { return adamClip{r} }},
	{"AdamW keeps gradients of groups left alone", "AdamW", func(r *ref.Backend) kernels.Backend { return adamGrad{r} }},
	{"AdamW steps on a norm that is not finite", "AdamW", func(r *ref.Backend) kernels.Backend { return adamFinite{r} }},
	{"AdamW decays everything", "AdamW", func(r *ref.Backend) kernels.Backend { return adamDecay{r} }},
	{"Sample breaks ties upwards", "Sample", func(r *ref.Backend) kernels.Backend { return sampleTies{r} }},
	{"Sample ignores the counter", "Sample", func(r *ref.Backend) kernels.Backend { return sampleCounter{r} }},
	{"Sample ignores top-p", "Sample", func(r *ref.Backend) kernels.Backend { return sampleTopP{r} }},
	{"Sample ignores top-k", "Sample", func(r *ref.Backend) kernels.Backend { return sampleTopK{r} }},
	{"Free does nothing", "Memory", func(r *ref.Backend) kernels.Backend { return memoryLeaks{r} }},
	{"Alloc hands out memory twice", "Memory", func(r *ref.Backend) kernels.Backend { return &memoryTwice{Backend: r} }},
	{"Sync reports no error", "Errors", func(r *ref.Backend) kernels.Backend { return errorsLost{r} }},
	{"Sync reports an error again", "Errors", func(r *ref.Backend) kernels.Backend { return &errorsStay{Backend: r} }},
	{"MapHost copies from the wrong place", "MapHost", func(r *ref.Backend) kernels.Backend { return mapShifts{r} }},
}

// temp returns memory for n elements.
func temp(r *ref.Backend, dt kernels.DType, n int) kernels.Buffer {
	m, err := r.Alloc(int64(n * dt.Size()))
	if err != nil {
		panic(err)
	}
	return kernels.Buffer{Mem: m, DType: dt}
}

// ints32 returns a device table.
func ints32(r *ref.Backend, v ...int32) kernels.Buffer {
	b := temp(r, kernels.I32, len(v))
	copy(host.I32(b, len(v)), v)
	return b
}

func set(r *ref.Backend, b kernels.Buffer, n int, v float32) {
	r.Fill(kernels.FillArgs{Dst: b, N: n, Value: v})
}

// nudge changes the last bit of an f32 element.
func nudge(b kernels.Buffer) {
	if b.DType == kernels.F32 {
		x := host.F32(b, 1)
		x[0] = math.Float32frombits(math.Float32bits(x[0]) ^ 1)
	}
}

// together replaces starts by those of a single sequence.
func together(r *ref.Backend, starts kernels.Buffer, nseq *int) kernels.Buffer {
	s := host.I32(starts, *nseq+1)
	if *nseq == 0 {
		return starts
	}
	end := s[*nseq]
	*nseq = 1
	return ints32(r, 0, end)
}

// editTable returns a copy of an i32 table, changed by f.
func editTable(r *ref.Backend, b kernels.Buffer, n int, f func([]int32)) kernels.Buffer {
	v := append([]int32{}, host.I32(b, n)...)
	f(v)
	return ints32(r, v...)
}

// editF32 returns a copy of an f32 buffer, changed by f.
func editF32(r *ref.Backend, b kernels.Buffer, n int, f func([]float32)) kernels.Buffer {
	c := temp(r, kernels.F32, n)
	copy(host.F32(c, n), host.F32(b, n))
	f(host.F32(c, n))
	return c
}
