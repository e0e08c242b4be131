package cuda

import (
	"fmt"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
)

// targets are those that every kernel assembles for.
var targets = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}

// launched is a kernel of a row with a launch.
type launched struct {
	kernel.Any
	launch kernel.Launch
}

// kernels are those of a row: with the storages and alignments that differ in code.
func (v variant) kernels() (list []launched) {
	storages := [][2]kernels.DType{{kernels.BF16, kernels.BF16}}
	if v.engine == byFMA {
		storages = [][2]kernels.DType{{kernels.F32, kernels.F32}, {kernels.F32, kernels.BF16}}
	}
	for _, s := range storages {
		for _, vec := range []bool{true, false} {
			t := v.tile
			t.A, t.B, t.VecA, t.VecB = s[0], s[1], vec, vec
			switch v.op {
			case "linear":
				k := kernel.Linear{Tile: t, Split: v.split, Y: s[1], Bias: s[1], VecY: vec}
				list = append(list, launched{k, k.Launch(1, 1)})
			case "linear_backward_input":
				t.AcrossB = true
				k := kernel.Linear{Tile: t, Split: v.split, Y: kernels.F32, VecY: vec, Accumulate: true}
				list = append(list, launched{k, k.Launch(1, 1)})
			case "linear_backward_weight":
				t.AcrossA, t.AcrossB = true, true
				k := kernel.LinearWeight{Tile: t, VecDW: vec}
				list = append(list, launched{k, k.Launch(1, 1)})
			}
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
		for _, k := range v.kernels() {
			for _, target := range some {
				t.Run(fmt.Sprintf("%d/%s/%s", i, k.Name(), target), func(t *testing.T) {
					row, err := report.Assemble(bins[0], k.Any, k.launch, target)
					if row.Registers == 0 || err != nil && row.Occupancy.Blocks == 0 && k.launch.Shared <= 99<<10 {
						t.Fatal(err)
					}
					if row.Spilled > 0 {
						t.Errorf("%d bytes are spilled: %v", row.Spilled, row)
					}
					t.Log(row)
				})
			}
		}
	}
}
