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
	if lora == nil || lora.MaxRank == 0 {
		tp.record("linear", y, []*Tensor{x, w, bias}, []*Tensor{x}, func(dy *Tensor) { linearBackward(tp, dy, x, w, bias) })
		return y
	}
	rows, in, out := linearShapes(x, w, bias)
	if len(lora.Segments.shape) != 2 || lora.Segments.Dim(1) != kernels.SegmentColumns {
		panic(fmt.Sprintf("lora: segments %v, want [n, %d]", lora.Segments.shape, kernels.SegmentColumns))
	}
	h := tp.new(F32, rows, lora.MaxRank)
	nseg := lora.Segments.Dim(0)
	tp.dev.backend.LoRA(kernels.LoRAArgs{
		Y: y.buf, H: h.buf, X: x.buf, A: lora.A.buf, B: lora.B.buf, Segments: lora.Segments.buf,
		NSeg: nseg, Rows: rows, In: in, Out: out, MaxRank: lora.MaxRank,
	})
	if lora.DA != nil && tp.grad {
		y.needsGrad = true
	}
	tp.record("lora", y, []*Tensor{x, w, bias}, []*Tensor{x, h, lora.Segments}, func(dy *Tensor) {
		linearBackward(tp, dy, x, w, bias)
		if lora.DA == nil {
			panic("lora: backward through an adapter without gradients")
		}
		args := kernels.LoRABackwardArgs{
			DA: lora.DA.buf, DB: lora.DB.buf, DY: dy.buf, X: x.buf, H: h.buf, A: lora.A.buf, B: lora.B.buf,
			Segments: lora.Segments.buf, NSeg: nseg, Rows: rows, In: in, Out: out, MaxRank: lora.MaxRank,
		}
		if x.needsGrad {
			args.DX = x.grad.buf // written by linearBackward just above
		}
		tp.scratch(tp.dev.backend.LoRABackwardScratch(args), func(s kernels.Buffer) {
			args.Scratch = s
			tp.dev.backend.LoRABackward(args)
		})
	})
	return y
}
