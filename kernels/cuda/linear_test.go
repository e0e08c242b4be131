package cuda

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// numbers puts n random numbers of order one, rounded to bf16, on a backend.
func numbers(t *testing.T, b *Backend, rng *rand.Rand, dt kernels.DType, n int) (kernels.Buffer, []float64) {
	t.Helper()
	x, raw := make([]float64, n), make([]byte, 0, n*dt.Size())
	for i := range x {
		v := half.BF16ToFloat32(half.BF16FromFloat32(rng.Float32()*2 - 1))
		x[i] = float64(v)
		raw = appendFloat(raw, dt, v)
	}
	m, err := b.Alloc(int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	buf := kernels.Buffer{Mem: m, DType: dt}
	b.CopyIn(buf, raw)
	return buf, x
}

// TestLinearRows multiplies more and more rows by matrices of a model's size: a row has
// the same bits whatever variant its company leads to, and is right.
func TestLinearRows(t *testing.T) {
	const most, in, out = 130, 896, 256
	for _, gpu := range []*emu.GPU{emu.A100, emu.H100} {
		for _, dt := range [][2]kernels.DType{{kernels.BF16, kernels.BF16}, {kernels.F32, kernels.BF16}} {
			t.Run(fmt.Sprintf("%s/%v", gpu.Name, dt), func(t *testing.T) {
				api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: gpu, Schedule: emu.Random, Seed: 3, Checks: emu.AllChecks}})
				b, err := New(api, Options{Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				rng := rand.New(rand.NewPCG(5, 6))
				x, xv := numbers(t, b, rng, dt[0], most*in)
				w, wv := numbers(t, b, rng, dt[1], out*in)
				bias, bv := numbers(t, b, rng, kernels.F32, out)
				y, _ := numbers(t, b, rng, kernels.F32, most*out)
				multiply := func(rows int) []byte {
					b.Fill(kernels.FillArgs{Dst: y, N: most * out, Value: 77})
					b.Linear(kernels.LinearArgs{Y: y, X: x, W: w, Bias: bias, Rows: rows, In: in, Out: out})
					got := make([]byte, most*out*4)
					if err := b.CopyOut(got, y); err != nil {
						t.Fatal(err)
					}
					for i, v := range decode(kernels.F32, got[rows*out*4:]) {
						if v != 77 {
							t.Fatalf("%d rows: element %d after the last is written", rows, i)
						}
					}
					return got[:rows*out*4]
				}
				all := multiply(most)
				for r, got := range decode(kernels.F32, all) {
					r, c := r/out, r%out
					want, terms := bv[c], math.Abs(bv[c])
					for k := range in {
						p := xv[r*in+k] * wv[c*in+k]
						want, terms = want+p, terms+math.Abs(p)
					}
					if !(math.Abs(got-want) <= 2e-7*terms) {
						t.Fatalf("row %d, column %d: %v, want %v", r, c, got, want)
					}
				}
				for _, rows := range []int{1, 7, 8, 9, 16, 17, 33, 70} {
					if !bytes.Equal(multiply(rows), all[:rows*out*4]) {
						t.Errorf("of %d rows, one has other bits than among %d", rows, most)
					}
				}
				for _, buf := range []kernels.Buffer{x, w, bias, y} {
					b.Free(buf.Mem)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				for _, f := range api.Emulator().Findings() {
					t.Error(f)
				}
			})
		}
	}
}
