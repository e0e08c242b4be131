package cuda

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// targets are those that every kernel assembles for.
var targets = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}

// trial is a kernel of a row with a small problem for it.
type trial struct {
	kernel.Any
	launch  kernel.Launch
	vec     bool
	problem string // kernels with the same one give the same bits
	y, a, b kernels.DType
	run     func(b *Backend, y, a, w, starts kernels.Buffer)
}

// The small problem: y of rows and cols, sums of depth terms, in two chunks and a part.
const (
	trialRows, trialCols = 36, 88
	trialDepthMMA        = 2*kernel.ChunkMMA + 40
	trialDepthFMA        = 2*kernel.ChunkF32 + 40
)

var trialStarts = []int32{0, 70, 70, 71, 136} // of rows, for gradients of weights

func (t trial) depth() int {
	if kernel.MMA(t.a, t.b) {
		return trialDepthMMA
	}
	return trialDepthFMA
}

// trials are the kernels of a row, with storages and alignments that differ in code.
func (v variant) trials() (list []trial) {
	storages := [][2]kernels.DType{{kernels.BF16, kernels.BF16}, {kernels.F16, kernels.F16}}
	if v.engine == byFMA {
		storages = [][2]kernels.DType{{kernels.F32, kernels.F32}, {kernels.F32, kernels.BF16}}
	}
	const m, n = trialRows, trialCols
	for _, s := range storages {
		for _, vec := range []bool{true, false} {
			if s[0] == kernels.F16 && !vec {
				continue // as in bf16
			}
			tile := v.tile
			tile.A, tile.B, tile.VecA, tile.VecB = s[0], s[1], vec, vec
			t := trial{vec: vec, a: s[0], b: s[1], y: kernels.F32, problem: fmt.Sprint(v.op, s)}
			switch v.op {
			case "linear":
				t.y = s[1]
				k := kernel.Linear{Tile: tile, Split: v.split, Y: t.y, VecY: vec}
				t.Any, t.launch = k, k.Launch(m, n)
			case "linear_backward_input":
				tile.AcrossB = true
				k := kernel.Linear{Tile: tile, Split: v.split, Y: t.y, VecY: vec, Accumulate: true}
				t.Any, t.launch = k, k.Launch(m, n)
			case "linear_backward_weight":
				tile.AcrossA, tile.AcrossB = true, true
				k := kernel.LinearWeight{Tile: tile, VecDW: vec}
				t.Any, t.launch = k, k.Launch(m, n)
			default:
				panic("no problem for op " + v.op)
			}
			t.run = func(b *Backend, y, a, w, starts kernels.Buffer) {
				args := []arg{ptr(y), ptr(a), ptr(w), ptr(kernels.Buffer{}), num(m), num(n), num(t.depth())}
				if v.op == "linear_backward_weight" {
					at, tag := b.refusals(v.op, "%d %d")
					rows := int(trialStarts[len(trialStarts)-1])
					args = []arg{ptr(y), ptr(a), ptr(w), ptr(starts), num(len(trialStarts) - 1), num(rows), num(n), num(m), at, tag}
				}
				b.launch(v.op, t.Any, t.launch, args...)
			}
			list = append(list, t)
		}
	}
	return list
}

// TestVariantsAssemble assembles the kernels of every row, without spills, and sees that
// their blocks fit on the GPUs whose shared memory allows the row.
func TestVariantsAssemble(t *testing.T) {
	bins := ptxas.Find(t)
	some := targets
	if os.Getenv("SELKIE_HEAVY") == "" {
		some = []string{"sm_80", "sm_120"}
	}
	for i, v := range variants {
		for _, k := range v.trials() {
			if k.a == kernels.F16 && os.Getenv("SELKIE_HEAVY") == "" {
				continue // as in bf16
			}
			for _, target := range some {
				t.Run(fmt.Sprintf("%d/%s/%s", i, k.Name(), target), func(t *testing.T) {
					row, err := report.Assemble(bins[0], k.Any, k.launch, target)
					tooMuch := row.Registers > 0 && row.Occupancy.Limit == "" // of shared memory, for this target
					if err != nil && !tooMuch {
						t.Fatal(err)
					}
					if row.Spilled > 0 {
						t.Errorf("%d bytes are spilled", row.Spilled)
					}
					t.Log(row)
				})
			}
		}
	}
}

// numbers puts n random numbers of order one, rounded to bf16, on a backend.
func numbers(t *testing.T, b *Backend, rng *rand.Rand, dt kernels.DType, n int) (kernels.Buffer, []float64) {
	t.Helper()
	x, raw := make([]float64, n), make([]byte, 0, n*dt.Size())
	for i := range x {
		v := half.BF16ToFloat32(half.BF16FromFloat32(rng.Float32()*2 - 1))
		x[i] = float64(v)
		switch dt {
		case kernels.BF16:
			raw = binary.LittleEndian.AppendUint16(raw, half.BF16FromFloat32(v))
		case kernels.F16:
			raw = binary.LittleEndian.AppendUint16(raw, half.F16FromFloat32(v))
		default:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	return upload(t, b, dt, raw), x
}

func upload(t *testing.T, b *Backend, dt kernels.DType, raw []byte) kernels.Buffer {
	t.Helper()
	m, err := b.Alloc(int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	buf := kernels.Buffer{Mem: m, DType: dt}
	b.CopyIn(buf, raw)
	return buf
}

// decode reads numbers of a storage.
func decode(dt kernels.DType, raw []byte) (x []float64) {
	for i := 0; i < len(raw); i += dt.Size() {
		switch dt {
		case kernels.BF16:
			x = append(x, float64(half.BF16ToFloat32(binary.LittleEndian.Uint16(raw[i:]))))
		case kernels.F16:
			x = append(x, float64(half.F16ToFloat32(binary.LittleEndian.Uint16(raw[i:]))))
		default:
			x = append(x, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:]))))
		}
	}
	return x
}

// TestVariantsAgree runs the kernels of every row: their results are right and have the
// bits of the other rows', and aligned ones access shared memory without conflicts.
func TestVariantsAgree(t *testing.T) {
	first := map[string][]byte{}
	for i, v := range variants {
		for _, k := range v.trials() {
			t.Run(fmt.Sprintf("%d/%s", i, k.Name()), func(t *testing.T) {
				api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Checks: emu.AllChecks, Profile: true}})
				b, err := New(api, Options{})
				if err != nil {
					t.Fatal(err)
				}
				rng := rand.New(rand.NewPCG(1, 2))
				const m, n = trialRows, trialCols
				depth := k.depth()
				rows := depth // of the operands' other dimension
				if v.op == "linear_backward_weight" {
					rows = int(trialStarts[len(trialStarts)-1])
				}
				a, av := numbers(t, b, rng, k.a, m*rows)
				w, wv := numbers(t, b, rng, k.b, n*rows)
				y, yv := numbers(t, b, rng, k.y, m*n)
				var raw []byte
				for _, s := range trialStarts {
					raw = binary.LittleEndian.AppendUint32(raw, uint32(s))
				}
				starts := upload(t, b, kernels.I32, raw)
				k.run(b, y, a, w, starts)
				got := make([]byte, m*n*k.y.Size())
				if err := b.CopyOut(got, y); err != nil {
					t.Fatal(err)
				}
				for _, buf := range []kernels.Buffer{a, w, y, starts} {
					b.Free(buf.Mem)
				}
				for r := range m {
					for c := range n {
						want, terms := yv[r*n+c], 0.0
						if v.op == "linear" {
							want = 0
						}
						for d := range rows {
							p := av[r*rows+d]
							if v.op == "linear_backward_weight" {
								p = av[d*m+r]
							}
							if v.op == "linear" {
								p *= wv[c*rows+d]
							} else {
								p *= wv[d*n+c]
							}
							want, terms = want+p, terms+math.Abs(p)
						}
						if g := decode(k.y, got[(r*n+c)*k.y.Size():][:k.y.Size()])[0]; !(math.Abs(g-want) <= 1e-6*terms+math.Abs(want)/256*float64(4-k.y.Size())) {
							t.Fatalf("row %d, column %d: %v, want %v", r, c, g, want)
						}
					}
				}
				if first[k.problem] == nil {
					first[k.problem] = got
				} else if !bytes.Equal(got, first[k.problem]) {
					t.Errorf("other bits than the first variant of this problem")
				}
				profiles := api.Emulator().Profile().Kernels
				p := profiles[slices.IndexFunc(profiles, func(p *emu.KernelProfile) bool { return p.Kernel == k.Name() })]
				var row report.Row
				row.Count(p)
				t.Logf("%d conflicts in %d passes, %.1f sectors per request, %.1f %% tensor", row.Conflicts, row.Passes, row.SectorsPerRequest, 100*row.TensorShare)
				if row.Conflicts > 0 {
					t.Errorf("%d conflicts in %d passes through the banks of shared memory", row.Conflicts, row.Passes)
					for _, in := range p.Insts {
						if in.Wavefronts > in.Ideal {
							t.Logf("%s: %s: %d, ideally %d", in.GoLine, in.Text, in.Wavefronts, in.Ideal)
						}
					}
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

// TestVariantsLast sees that the table has a row for every launch.
func TestVariantsLast(t *testing.T) {
	last := map[string]variant{}
	for _, v := range variants {
		last[v.op+" "+string(v.engine)] = v
	}
	for name, v := range last {
		if v.sm > leastSM || v.rows != 0 || v.depth != 0 || v.fill != 0 || v.trials()[0].launch.Shared > 48<<10 {
			t.Errorf("%s: the last row, %+v, does not fit every launch", name, v)
		}
	}
}
