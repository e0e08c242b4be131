package kernel

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// attentionKernels are the kernels of attention that a model's shapes call for, and those
// that need most registers.
func attentionKernels() (list []Any) {
	const f32, bf16, f16 = kernels.F32, kernels.BF16, kernels.F16
	for _, dim := range []int{64, 128} {
		for _, aligned := range []bool{true, false} {
			list = append(list, AttentionMMA{QKV: bf16, O: bf16, HeadDim: dim, Aligned: aligned, LSE: true},
				AttentionPagedMMA{QKV: bf16, O: bf16, HeadDim: dim, Aligned: aligned})
		}
		queries := AttentionBackwardMMA{HeadDim: dim}
		for _, only := range append([]byte{1}, BackwardParts(dim)...) {
			k := queries
			if only != 1 {
				k.Keys, k.Only = true, only
			}
			for _, form := range [][2]bool{{true, true}, {true, false}, {false, true}} {
				k.Split, k.Aligned = form[0], form[1]
				list = append(list, k)
			}
		}
		list = append(list, AttentionMMA{QKV: f16, O: f32, HeadDim: dim, Aligned: true},
			AttentionPagedMMA{QKV: f16, O: f16, HeadDim: dim, Aligned: true})
	}
	for _, dim := range []int{1, 64, 128, 512} {
		for _, vec := range []int{1, 4} {
			if dim%vec != 0 {
				continue
			}
			for _, cached := range []bool{false, true} {
				list = append(list, Attention{O: f32, Q: f32, KV: f32, HeadDim: dim, Vec: vec, Cached: cached, LSE: !cached})
			}
			if dim <= MaxHeadDimBackward {
				for _, keys := range []bool{false, true} {
					list = append(list, AttentionBackward{Q: f32, KV: f32, DO: f32, HeadDim: dim, Vec: vec, Keys: keys})
				}
			}
			list = append(list, KVStore{Cache: bf16, K: bf16, V: bf16, HeadDim: dim, Vec: vec})
		}
	}
	return append(list, AttentionDelta{O: bf16, DO: f32, HeadDim: 128, Split: true})
}

func TestAttentionAssembles(t *testing.T) { assembles(t, attentionKernels()) }
