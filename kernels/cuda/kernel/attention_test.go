package kernel_test

import (
	"os"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
)

var pagedSteps = []kernel.PagedStep{kernel.PagedWhole, kernel.PagedTops, kernel.PagedParts}

// attentionKernels are the kernels of attention that a model's shapes call for, and those
// that need most registers.
func attentionKernels() (list []kernel.Any) {
	const f32, bf16, f16 = kernels.F32, kernels.BF16, kernels.F16
	half := kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}
	for _, dim := range []int{64, 128} {
		for _, aligned := range []bool{true, false} {
			list = append(list, kernel.AttentionMMA{QKV: bf16, O: bf16, HeadDim: dim, Aligned: aligned, LSE: true, Sizes: half})
			for _, step := range pagedSteps {
				list = append(list, kernel.AttentionPagedMMA{QKV: bf16, O: bf16, HeadDim: dim, Aligned: aligned, Step: step})
			}
		}
		queries := kernel.AttentionBackwardMMA{HeadDim: dim, Sizes: half}
		for _, only := range append([]byte{1}, kernel.BackwardParts(dim)...) {
			k := queries
			if only != 1 {
				k.Keys, k.Only = true, only
			}
			for _, form := range [][2]bool{{true, true}, {true, false}, {false, true}} {
				k.Split, k.Aligned = form[0], form[1]
				list = append(list, k)
			}
		}
		list = append(list, kernel.AttentionMMA{QKV: f16, O: f32, HeadDim: dim, Aligned: true, Sizes: half},
			kernel.AttentionPagedMMA{QKV: f16, O: f16, HeadDim: dim, Aligned: true})
	}
	for _, dim := range []int{1, 64, 128} {
		for _, vec := range []int{1, 4} {
			if dim%vec != 0 {
				continue
			}
			list = append(list, kernel.Attention{O: f32, Q: f32, KV: f32, HeadDim: dim, Vec: vec, LSE: true, Sizes: kernel.AttentionSizes{Rows: 64, Keys: 64}})
			for _, step := range pagedSteps {
				list = append(list, kernel.Attention{O: f32, Q: f32, KV: f32, HeadDim: dim, Vec: vec, Cached: true, Step: step})
			}
			if dim <= kernel.MaxHeadDimBackward {
				for _, keys := range []bool{false, true} {
					list = append(list, kernel.AttentionBackward{Q: f32, KV: f32, DO: f32, HeadDim: dim, Vec: vec, Keys: keys, Sizes: kernel.AttentionSizes{Rows: 32}})
				}
			}
			list = append(list, kernel.KVStore{Cache: bf16, K: bf16, V: bf16, HeadDim: dim, Vec: vec})
		}
	}
	for _, dim := range []int{1, 128, 256} {
		list = append(list, kernel.AttentionPagedSum{O: bf16, HeadDim: dim, Sums: 4}, kernel.AttentionPagedSum{O: f32, HeadDim: dim, Sums: 16})
	}
	return append(list, kernel.AttentionDelta{O: bf16, DO: f32, HeadDim: 128, Split: true})
}

// TestAttentionAssembles assembles them without spills.
func TestAttentionAssembles(t *testing.T) {
	bin := ptxas.Find(t)[0]
	targets := []string{"sm_80"}
	if os.Getenv("SELKIE_HEAVY") != "" {
		targets = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}
	}
	for _, k := range attentionKernels() {
		for _, target := range targets {
			row, err := report.Assemble(bin, k, kernel.Launch{Block: kernel.Dim3{128, 1, 1}}, target)
			if err != nil {
				t.Fatal(err)
			}
			if row.Spilled > 0 {
				t.Errorf("%d bytes are spilled: %v", row.Spilled, row)
			}
			t.Log(row)
		}
	}
}
