package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// LoRA is the low-rank part of one adapted linear layer for a batch in which
// every sequence names its adapter.
type LoRA struct {
	A, B     *Tensor // f32 slabs: A [rank, in], B [out, rank] of every adapter
	DA, DB   *Tensor // their gradients, nil when not training
	Segments *Tensor // i32 [n, kernels.SegmentColumns], one row per sequence
	MaxRank  int
}

// LoRALinear returns x·Wᵀ (+ bias) + scale·(x·Aᵀ)·Bᵀ, the last term with each
// sequence's own adapter. lora may be nil.
func LoRALinear(tp *Tape, x, w, bias *Tensor, lora *LoRA) *Tensor {
	y := linearForward(tp, x, w, bias)
	n := node{out: y, inputs: inputs{x, w, bias}, backward: linearBackward}
	if w.needsGrad {
		n.saved[0] = x
	}
	if lora != nil && lora.MaxRank > 0 {
		loraForward(tp, &n, lora)
	}
	tp.record(n)
	return y
}

// loraForward adds the adapters' part to the output of a linear layer.
func loraForward(tp *Tape, n *node, lora *LoRA) {
	x, y := n.inputs[0], n.out
	if lora.Segments.shape.n != 2 || lora.Segments.Dim(1) != kernels.SegmentColumns {
		panic(fmt.Sprintf("lora: segments %v, want [n, %d]", lora.Segments.shape, kernels.SegmentColumns))
	}
	mustContiguous("lora", lora.A, lora.B, lora.Segments)
	h := tp.new(F32, x.Dim(0), lora.MaxRank)
	tp.dev.backend.LoRA(kernels.LoRAArgs{
		Y: y.buf, H: h.buf, X: x.buf, A: lora.A.buf, B: lora.B.buf, Segments: lora.Segments.buf,
		NSeg: lora.Segments.Dim(0), Rows: x.Dim(0), In: x.Dim(1), Out: y.Dim(1), MaxRank: lora.MaxRank,
	})
	y.needsGrad = tp.grad && lora.DA != nil
	n.lora, n.saved, n.backward = lora, saved{x, h, lora.Segments}, loraBackward
}

func loraBackward(tp *Tape, n *node, dy *Tensor) {
	linearBackward(tp, n, dy)
	lora, x, h, segments := n.lora, n.saved[0], n.saved[1], n.saved[2]
	if lora.DA == nil {
		panic("lora: backward through an adapter without gradients")
	}
	args := kernels.LoRABackwardArgs{
		DA: lora.DA.buf, DB: lora.DB.buf, DY: dy.buf, X: x.buf, H: h.buf, A: lora.A.buf, B: lora.B.buf,
		Segments: segments.buf, NSeg: segments.Dim(0), Rows: x.Dim(0), In: x.Dim(1), Out: dy.Dim(1), MaxRank: h.Dim(1),
	}
	if x.needsGrad {
		args.DX = x.grad.buf // written by linearBackward just above
	}
	args.Scratch = tp.scratch(tp.dev.backend.LoRABackwardScratch(args))
	tp.dev.backend.LoRABackward(args)
}
