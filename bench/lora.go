package bench

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// lora is the grouped low-rank part of a linear layer: many segments, each with
// an adapter of its own, against one segment of as many rows.
func lora(s Sizes) ([]Case, error) {
	c, err := Shape(s.Large)
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, rank := range s.Ranks {
		for _, segments := range []int{s.Segments, 1} {
			for _, backward := range []bool{false, true} {
				out = append(out, loraCase(c.HiddenSize, rank, segments, s.Segments*s.SegmentRows/segments, backward))
			}
		}
	}
	return out, nil
}

func loraCase(dim, rank, segments, segmentRows int, backward bool) Case {
	rows := segments * segmentRows
	flops, pass := loraFLOPs(rows, dim, dim, rank, false, false), "forward"
	if backward {
		flops, pass = loraFLOPs(rows, dim, dim, rank, true, true)-flops, "backward"
	}
	return Case{
		Name: fmt.Sprintf("lora/rank%d/%dx%d/%s", rank, segments, segmentRows, pass),
		Work: Work{FLOPs: flops},
		Spec: Spec{Op: "lora", Type: F32, K: dim, N: dim, Rank: rank, Segments: segments, Rows: segmentRows, Backward: backward},
		setup: func(e *Env) (*Run, error) {
			a := &arrays{env: e}
			b := e.dev.Backend()
			var table []int32
			for i := range segments {
				table = kernels.Segment{RowStart: int32(i * segmentRows), RowEnd: int32((i + 1) * segmentRows), Rank: int32(rank),
					AOffset: int32(i * rank * dim), BOffset: int32(i * rank * dim), Scale: 2}.AppendTo(table)
			}
			n := segments * rank * dim
			x, y, h := a.random(kernels.F32, rows*dim), a.random(kernels.F32, rows*dim), a.random(kernels.F32, rows*rank)
			la, lb, seg := a.random(kernels.F32, n), a.random(kernels.F32, n), a.ints(table)
			if !backward {
				return a.ops(func() {
					b.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: la, B: lb, Segments: seg, NSeg: segments, Rows: rows, In: dim, Out: dim, MaxRank: rank})
				})
			}
			args := kernels.LoRABackwardArgs{DX: a.zeros(kernels.F32, rows*dim), DA: a.zeros(kernels.F32, n), DB: a.zeros(kernels.F32, n),
				DY: y, X: x, H: h, A: la, B: lb, Segments: seg, NSeg: segments, Rows: rows, In: dim, Out: dim, MaxRank: rank}
			args.Scratch = a.zeros(kernels.F32, int(b.LoRABackwardScratch(args)+3)/4)
			return a.ops(func() { b.LoRABackward(args) })
		},
	}
}
