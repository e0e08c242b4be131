package bench

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// attention is causal self-attention of one sequence: as many heads of keys as
// of queries, and the grouped heads of the large shape; and long sequences.
func attention(s Sizes) ([]Case, error) {
	c, err := Shape(s.Large)
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, kv := range []int{c.Heads, c.KVHeads} {
		for _, kind := range []string{F32, BF16} {
			for _, backward := range []bool{false, true} {
				out = append(out, attentionCase(kind, c.Heads, kv, s.Rows, c.HeadDim, backward))
			}
		}
	}
	for _, rows := range s.Long {
		for _, backward := range []bool{false, true} {
			out = append(out, attentionCase(BF16, 16, 16, rows, 128, backward))
		}
	}
	return out, nil
}

func attentionCase(kind string, heads, kv, rows, dim int, backward bool) Case {
	pass := "forward"
	if backward {
		pass = "forward+backward"
	}
	return Case{
		Name: fmt.Sprintf("attention/%s/heads%d-%d/%dx%d/%s", kind, heads, kv, rows, dim, pass),
		Work: Work{FLOPs: attentionFLOPs(heads, dim, []int{rows}, backward), BF16: kind == BF16},
		Spec: Spec{Op: "attention", Type: kind, Heads: heads, KVHeads: kv, HeadDim: dim, Rows: rows, Backward: backward},
		setup: func(e *Env) (*Run, error) {
			a := &arrays{env: e}
			b := e.dev.Backend()
			stored, _ := kindTypes(kind)
			nq, nkv := rows*heads*dim, rows*kv*dim
			f := kernels.AttentionArgs{O: a.zeros(stored, nq), LSE: a.zeros(kernels.F32, rows*heads), Q: a.random(stored, nq), K: a.random(stored, nkv), V: a.random(stored, nkv),
				Starts: a.ints([]int32{0, int32(rows)}), NSeq: 1, Rows: rows, Heads: heads, KVHeads: kv, HeadDim: dim, Scale: float32(1 / math.Sqrt(float64(dim)))}
			if !backward {
				return a.ops(func() { b.Attention(f) })
			}
			g := kernels.AttentionBackwardArgs{DQ: a.zeros(kernels.F32, nq), DK: a.zeros(kernels.F32, nkv), DV: a.zeros(kernels.F32, nkv), DO: a.random(kernels.F32, nq),
				O: f.O, LSE: f.LSE, Q: f.Q, K: f.K, V: f.V, Starts: f.Starts, NSeq: 1, Rows: rows, Heads: heads, KVHeads: kv, HeadDim: dim, Scale: f.Scale}
			g.Scratch = a.zeros(kernels.F32, int(b.AttentionBackwardScratch(g)+3)/4)
			return a.ops(func() { b.Attention(f); b.AttentionBackward(g) })
		},
	}
}
