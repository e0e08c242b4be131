package cuda_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// precisionOps runs an op on the inputs of scripts/pytorch-bf16 and returns results by name.
var precisionOps = map[string]func(d *desk) map[string][]float64{
	"Linear": func(d *desk) map[string][]float64 {
		const rows, in, out = 33, 896, 256
		x, w := d.bf16(1, rows*in, 1), d.bf16(2, out*in, math.Pow(in, -0.5))
		y, dx, dw := d.alloc(d.half, rows*out), d.alloc(kernels.F32, rows*in), d.zeros(out*in)
		d.b.Linear(kernels.LinearArgs{Y: y, X: x, W: w, Rows: rows, In: in, Out: out})
		d.b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: dx, DY: d.bf16(3, rows*out, 1), W: w, Rows: rows, In: in, Out: out})
		d.b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: dw, DY: d.f32(3, rows*out, 1), X: x, Starts: d.ints(0, rows), NSeq: 1, Rows: rows, In: in, Out: out})
		return map[string][]float64{"Linear": d.get(y, rows*out), "LinearBackwardInput": d.get(dx, rows*in), "LinearBackwardWeight": d.get(dw, out*in)}
	},
	"Attention/64":  func(d *desk) map[string][]float64 { return precisionAttention(d, 64) },
	"Attention/128": func(d *desk) map[string][]float64 { return precisionAttention(d, 128) },
	"RMSNorm": func(d *desk) map[string][]float64 {
		const rows, dim = 17, 896
		x, w := d.f32(8, rows*dim, 1), d.bf16(9, dim, 1)
		y, dx, dw := d.alloc(d.half, rows*dim), d.alloc(kernels.F32, rows*dim), d.zeros(dim)
		d.b.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-6})
		d.b.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: dx, DW: dw, DY: d.f32(10, rows*dim, 1), X: x, W: w, Starts: d.ints(0, rows), NSeq: 1, Rows: rows, Dim: dim, Eps: 1e-6})
		return map[string][]float64{"RMSNorm": d.get(y, rows*dim), "RMSNormBackward/dx": d.get(dx, rows*dim), "RMSNormBackward/dw": d.get(dw, dim)}
	},
	"SwiGLU": func(d *desk) map[string][]float64 {
		const n = 4864
		gate, up := d.bf16(11, n, 4), d.bf16(12, n, 1)
		y, dg, du := d.alloc(d.half, n), d.alloc(kernels.F32, n), d.alloc(kernels.F32, n)
		d.b.SwiGLU(kernels.SwiGLUArgs{Y: y, Gate: gate, Up: up, N: n})
		d.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: dg, DUp: du, DY: d.f32(13, n, 1), Gate: gate, Up: up, N: n})
		return map[string][]float64{"SwiGLU": d.get(y, n), "SwiGLUBackward/dgate": d.get(dg, n), "SwiGLUBackward/dup": d.get(du, n)}
	},
	"Rope": func(d *desk) map[string][]float64 {
		const rows, heads, dim = 33, 4, 64
		y := d.alloc(d.half, rows*heads*dim)
		d.b.Rope(kernels.RopeArgs{Y: y, X: d.bf16(16, rows*heads*dim, 1), Positions: d.ints(make([]int32, rows)...), Cos: d.f32(14, dim/2, 1), Sin: d.f32(15, dim/2, 1),
			Rows: rows, Heads: heads, HeadDim: dim, MaxPos: 1})
		return map[string][]float64{"Rope": d.get(y, rows*heads*dim)}
	},
	"CrossEntropy": func(d *desk) map[string][]float64 {
		const rows, dim, vocab = 33, 896, 1000
		targets := make([]int32, rows)
		weights := bf16Inputs(19, rows, 1)
		for i := range targets {
			targets[i], weights[i] = int32(7*i), float32(math.Abs(float64(weights[i])))
		}
		a := kernels.CrossEntropyArgs{LogProb: d.alloc(kernels.F32, rows), DX: d.alloc(kernels.F32, rows*dim), DW: d.zeros(vocab * dim),
			X: d.bf16(17, rows*dim, 1), W: d.bf16(18, vocab*dim, math.Pow(dim, -0.5)), Targets: d.ints(targets...), Weights: d.put(kernels.F32, weights),
			Starts: d.ints(0, rows), NSeq: 1, Rows: rows, Dim: dim, Vocab: vocab}
		a.Scratch = d.alloc(kernels.F32, int(d.b.CrossEntropyScratch(a)+3)/4)
		d.b.CrossEntropy(a)
		return map[string][]float64{"CrossEntropy/logprob": d.get(a.LogProb, rows), "CrossEntropy/dx": d.get(a.DX, rows*dim), "CrossEntropy/dw": d.get(a.DW, vocab*dim)}
	},
	"LoRA": func(d *desk) map[string][]float64 {
		const rows, in, out, rank = 33, 896, 256, 16
		x, w1, w2 := d.bf16(20, rows*in, 1), d.f32(21, rank*in, math.Pow(in, -0.5)), d.f32(22, out*rank, 1)
		seg := kernels.Segment{RowEnd: rows, Rank: rank, Scale: 1}.AppendTo(nil)
		// Y is f32: the sum with the base product rounds once more, in PyTorch too.
		y, h, table := d.zeros(rows*out), d.zeros(rows*rank), d.ints(seg...)
		d.b.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: w1, B: w2, Segments: table, NSeg: 1, Rows: rows, In: in, Out: out, MaxRank: rank})
		a := kernels.LoRABackwardArgs{DX: d.zeros(rows * in), DA: d.zeros(rank * in), DB: d.zeros(out * rank), DY: d.f32(23, rows*out, 1), X: x, H: h, A: w1, B: w2,
			Segments: table, NSeg: 1, Rows: rows, In: in, Out: out, MaxRank: rank}
		a.Scratch = d.alloc(kernels.F32, int(d.b.LoRABackwardScratch(a)+3)/4)
		d.b.LoRABackward(a)
		return map[string][]float64{"LoRA": d.get(y, rows*out), "LoRABackward/dx": d.get(a.DX, rows*in), "LoRABackward/da": d.get(a.DA, rank*in), "LoRABackward/db": d.get(a.DB, out*rank)}
	},
}

func precisionAttention(d *desk, dim int) map[string][]float64 {
	const rows, heads, kv = 130, 4, 2
	a := kernels.AttentionArgs{O: d.alloc(d.half, rows*heads*dim), LSE: d.alloc(kernels.F32, rows*heads), Q: d.bf16(4, rows*heads*dim, 1), K: d.bf16(5, rows*kv*dim, 1),
		V: d.bf16(6, rows*kv*dim, 1), Starts: d.ints(0, rows), NSeq: 1, Rows: rows, Heads: heads, KVHeads: kv, HeadDim: dim, Scale: float32(math.Pow(float64(dim), -0.5))}
	d.b.Attention(a)
	g := kernels.AttentionBackwardArgs{DQ: d.alloc(kernels.F32, rows*heads*dim), DK: d.alloc(kernels.F32, rows*kv*dim), DV: d.alloc(kernels.F32, rows*kv*dim),
		DO: d.bf16(7, rows*heads*dim, 1), O: a.O, LSE: a.LSE, Q: a.Q, K: a.K, V: a.V, Starts: a.Starts, NSeq: 1, Rows: rows, Heads: heads, KVHeads: kv, HeadDim: dim, Scale: a.Scale}
	g.Scratch = d.alloc(kernels.F32, int(d.b.AttentionBackwardScratch(g)+3)/4)
	d.b.AttentionBackward(g)
	of := fmt.Sprintf("/%d", dim)
	return map[string][]float64{"Attention" + of: d.get(a.O, rows*heads*dim), "AttentionBackward" + of + "/dq": d.get(g.DQ, rows*heads*dim),
		"AttentionBackward" + of + "/dk": d.get(g.DK, rows*kv*dim), "AttentionBackward" + of + "/dv": d.get(g.DV, rows*kv*dim)}
}

// TestPyTorchBF16 compares errors in bf16 with those of plain PyTorch, which
// scripts/pytorch-bf16 recorded: at most twice as large.
func TestPyTorchBF16(t *testing.T) {
	raw, err := os.ReadFile("testdata/pytorch-bf16.json")
	if err != nil {
		t.Fatal(err)
	}
	var theirs struct {
		RelativeRMS map[string]float64 `json:"relative_rms"`
	}
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatal(err)
	}
	ran, seen := 0, 0
	for op, run := range precisionOps {
		t.Run(op, func(t *testing.T) {
			ran++
			gpu := &desk{t: t, b: emulated(t, emu.A100, emu.RoundRobin), half: kernels.BF16}
			exact := &desk{t: t, b: ref.New(), half: kernels.F32}
			got, want := run(gpu), run(exact)
			for _, d := range []*desk{gpu, exact} {
				d.free()
				if err := d.b.Close(); err != nil {
					t.Error(err)
				}
			}
			for name, w := range want {
				limit, ok := theirs.RelativeRMS[name]
				if !ok {
					t.Errorf("%s: PyTorch's error is not recorded", name)
					continue
				}
				seen++
				var diff, size float64
				for i := range w {
					diff += (got[name][i] - w[i]) * (got[name][i] - w[i])
					size += w[i] * w[i]
				}
				e := math.Sqrt(diff / size)
				t.Logf("%-28s %.2e, PyTorch %.2e", name, e, limit)
				if !(e <= 2*limit) {
					t.Errorf("%s: relative error %.2e, PyTorch has %.2e", name, e, limit)
				}
			}
		})
	}
	if all := len(theirs.RelativeRMS); ran == len(precisionOps) && seen != all && !t.Failed() {
		t.Errorf("%d of %d recorded errors compared", seen, all)
	}
}
