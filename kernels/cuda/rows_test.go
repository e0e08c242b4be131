package cuda_test

import (
	"math"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// rowOps run the ops over elements and rows at widths of models, in memory aligned as a
// model's is, and return results by name.
var rowOps = map[string]func(d *desk) map[string][]float64{
	"RMSNorm/896":   func(d *desk) map[string][]float64 { return rowNorm(d, 371, 896) },
	"RMSNorm/4864":  func(d *desk) map[string][]float64 { return rowNorm(d, 2, 4864) },
	"RMSNorm/9000":  func(d *desk) map[string][]float64 { return rowNorm(d, 2, 9000) },
	"RMSNorm/20000": func(d *desk) map[string][]float64 { return rowNorm(d, 1, 20000) },
	"SwiGLU": func(d *desk) map[string][]float64 {
		const n = 3 * 4864
		gate, up := d.f32(1, n, 4), d.f32(2, n, 1)
		y, dg, du := d.alloc(kernels.F32, n), d.alloc(kernels.F32, n), d.alloc(kernels.F32, n)
		d.b.SwiGLU(kernels.SwiGLUArgs{Y: y, Gate: gate, Up: up, N: n})
		d.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: dg, DUp: du, DY: d.f32(3, n, 1), Gate: gate, Up: up, N: n})
		return map[string][]float64{"y": d.get(y, n), "dgate": d.get(dg, n), "dup": d.get(du, n)}
	},
	"Rope": func(d *desk) map[string][]float64 {
		const rows, heads, dim, most = 7, 14, 64, 32
		n := rows * heads * dim
		y, dx := d.alloc(kernels.F32, n), d.alloc(kernels.F32, n)
		a := kernels.RopeArgs{Y: y, X: d.f32(4, n, 1), Positions: d.ints(0, 31, 5, 6, 7, 8, 9), Cos: d.f32(5, most*dim/2, 1), Sin: d.f32(6, most*dim/2, 1),
			Rows: rows, Heads: heads, HeadDim: dim, MaxPos: most}
		d.b.Rope(a)
		a.X, a.Y = y, dx
		d.b.RopeBackward(a)
		return map[string][]float64{"y": d.get(y, n), "dx": d.get(dx, n)}
	},
	"Embedding": func(d *desk) map[string][]float64 {
		const rows, dim, vocab = 300, 896, 50
		ids := make([]int32, rows)
		for i := range ids {
			ids[i] = int32(i * i % 37)
		}
		table, dtable := d.f32(7, vocab*dim, 1), d.f32(8, vocab*dim, 1)
		y, at := d.alloc(kernels.F32, rows*dim), d.ints(ids...)
		d.b.Embedding(kernels.EmbeddingArgs{Y: y, Table: table, IDs: at, Rows: rows, Dim: dim, Vocab: vocab})
		d.b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: dtable, DY: d.f32(9, rows*dim, 1), IDs: at, Starts: d.ints(0, 0, 130, 131, 290),
			NSeq: 4, Rows: rows, Dim: dim, Vocab: vocab})
		return map[string][]float64{"y": d.get(y, rows*dim), "dtable": d.get(dtable, vocab*dim)}
	},
	"AdamW": func(d *desk) map[string][]float64 {
		const groups = 5
		var table []int32
		at := 0
		for i, n := range []int{16, 14336, 1, 896 * 16, 40_000, 7, 4096, 4097, 12} {
			table = kernels.Param{Group: int32(i % groups), Offset: int32(at), Count: int32(n), Decay: i%2 == 0}.AppendTo(table)
			at += n
		}
		var settings []float32
		for range groups {
			settings = append(settings, 1e-3, 0.1, 0.05, 1e-8, 0.1, 0.19, 0.0975, 1, 1) // in the order of the columns
		}
		p, g, m, v := d.f32(10, at, 1), d.f32(11, at, 1), d.f32(12, at, 0.1), d.put(kernels.F32, squares(bf16Inputs(13, at, 0.1)))
		sums, runs, n := d.zeros(groups), d.ints(table...), len(table)/kernels.ParamColumns
		d.b.GradNorm(kernels.GradNormArgs{SumSquares: sums, Grad: g, Table: runs, NParam: n, Groups: groups})
		d.b.AdamW(kernels.AdamWArgs{P: p, Grad: g, M: m, V: v, SumSquares: sums, Settings: d.put(kernels.F32, settings), Table: runs, NParam: n, Groups: groups})
		return map[string][]float64{"sums": d.get(sums, groups), "p": d.get(p, at), "grad": d.get(g, at), "m": d.get(m, at), "v": d.get(v, at)}
	},
	"Sample":           func(d *desk) map[string][]float64 { return rowSample(d, 151_936) },
	"Unaligned/Sample": func(d *desk) map[string][]float64 { return rowSample(d, 4099) },
	"Copies": func(d *desk) map[string][]float64 {
		const n = 40_000
		a, b, sum, part := d.f32(20, n, 1), d.f32(21, n, 1), d.alloc(kernels.F32, n), d.zeros(n)
		d.b.Add(kernels.AddArgs{Dst: sum, A: a, B: b, N: n})
		d.b.Copy(kernels.CopyArgs{Dst: part, Src: a, Rows: 20, Cols: 896, DstStride: 1024, SrcStride: 1792})
		d.b.Fill(kernels.FillArgs{Dst: b, Value: 2.5, N: n - 1})
		return map[string][]float64{"sum": d.get(sum, n), "part": d.get(part, n), "fill": d.get(b, n)}
	},
}

// rowSample draws from rows of logits of few bits, among which there are ties.
func rowSample(d *desk, vocab int) map[string][]float64 {
	settings := []float32{0, 1, 0, 1, 1, 0, 0.7, 0.9, 50, 1, 0.95, 0, 100, 0.5, 1000}
	rows := len(settings) / kernels.SampleColumns
	logits := make([]float32, 0, rows*vocab)
	for row := range rows {
		logits = append(logits, bf16Inputs(uint64(14+row), vocab, 20)...)
	}
	var draws []int32
	for i := range rows * kernels.DrawColumns {
		draws = append(draws, int32(uint32(i)*0x9E3779B9))
	}
	ids, lp := d.ints(make([]int32, rows)...), d.zeros(rows)
	d.b.Sample(kernels.SampleArgs{IDs: ids, LogProb: lp, Logits: d.put(kernels.F32, logits), Settings: d.put(kernels.F32, settings), Draws: d.ints(draws...), Rows: rows, Vocab: vocab})
	ids.DType = kernels.F32
	var id []float64
	for _, v := range d.get(ids, rows) {
		id = append(id, float64(math.Float32bits(float32(v)))) // the i32 that it was
	}
	return map[string][]float64{"id": id, "logprob": d.get(lp, rows)}
}

func squares(x []float32) []float32 {
	for i, v := range x {
		x[i] = v * v
	}
	return x
}

func rowNorm(d *desk, rows, dim int) map[string][]float64 {
	x, w := d.f32(1, rows*dim, 1), d.f32(2, dim, 1)
	y, dx, dw := d.alloc(kernels.F32, rows*dim), d.f32(4, rows*dim, 1), d.zeros(dim)
	d.b.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-6})
	d.b.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: dx, DW: dw, DY: d.f32(3, rows*dim, 1), X: x, W: w, Starts: d.ints(0, int32(rows-rows/4), int32(rows)), NSeq: 2,
		Rows: rows, Dim: dim, Eps: 1e-6, Accumulate: true})
	return map[string][]float64{"y": d.get(y, rows*dim), "dx": d.get(dx, rows*dim), "dw": d.get(dw, dim)}
}

// least is the share of the sectors of global memory that a kernel touches of which it
// must use the bytes.
func least(kernel string) float64 {
	if kernel == "grad_norm_items" {
		return 0.8 // where runs begin at odd places, a warp's 128 bytes lie in five sectors
	}
	return 0.95
}

// TestRows compares them with ref, and sees that a warp's accesses of global memory
// touch no more sectors than their bytes fill.
func TestRows(t *testing.T) {
	for op, run := range rowOps {
		t.Run(op, func(t *testing.T) {
			api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Schedule: emu.Random, Seed: 1, Checks: emu.AllChecks, Profile: true}})
			b, err := cuda.New(api, cuda.Options{Direct: true})
			if err != nil {
				t.Fatal(err)
			}
			gpu := &desk{t: t, b: b, half: kernels.F32}
			got := run(gpu)
			gpu.free()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			plain := &desk{t: t, b: ref.New(), half: kernels.F32}
			for name, want := range run(plain) {
				closeTo(t, name, got[name], want)
			}
			for _, k := range api.Emulator().Profile().Kernels {
				var sectors, bytes int64
				for _, i := range k.Insts {
					if i.Sectors > 0 {
						sectors, bytes = sectors+i.Sectors, bytes+i.Bytes
					}
				}
				if bytes < 1<<12 || strings.HasPrefix(op, "Unaligned") {
					continue // a few words, or words one by one
				}
				if filled := float64(bytes) / float64(32*sectors); filled < least(k.Kernel) {
					t.Errorf("%.0f %% of the sectors that are touched is used in\n%v", 100*filled, &emu.Profile{Kernels: []*emu.KernelProfile{k}})
				}
			}
		})
	}
}

func closeTo(t *testing.T, name string, got, want []float64) {
	t.Helper()
	abs, rel := 1e-5, 1e-5
	if name == "id" {
		abs, rel = 0, 0
	}
	for i, w := range want {
		if g := got[i]; !(math.Abs(g-w) <= abs+rel*math.Abs(w)) {
			t.Errorf("%s[%d] is %v, ref has %v", name, i, g, w)
			return
		}
	}
}
