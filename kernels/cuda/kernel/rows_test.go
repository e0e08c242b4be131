package kernel

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

func TestRowsAssemble(t *testing.T) {
	var list []Any
	for _, back := range []bool{false, true} {
		list = append(list, Rope{Y: kernels.BF16, X: kernels.BF16, HeadDim: 128, Back: back, Vec: 8}, Rope{Y: kernels.F32, X: kernels.F32, HeadDim: 64, Back: back, Vec: 4})
	}
	for _, vec := range []int{1, 4} {
		for _, dim := range []int{64, 896, 1024, 3584, 8192, 16384, 40000} {
			sum := RowSumOf(dim, vec)
			list = append(list, RMSNorm{Y: kernels.BF16, W: kernels.BF16, RowSum: sum}, RMSNormBackward{W: kernels.F32, Scale: true, RowSum: sum},
				RMSNormBackward{W: kernels.BF16, Accumulate: true, RowSum: sum})
		}
		list = append(list, EmbeddingBackwardOf(896, vec), EmbeddingBackwardOf(3584, vec), AdamW{Vec: vec == 4})
	}
	for _, dt := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
		vec := 16 / dt.Size()
		list = append(list, SwiGLU{Y: dt, Gate: dt, Up: dt, Vec: vec}, SwiGLU{Y: dt, Gate: dt, Up: dt, Vec: 1}, SwiGLUBackward{Gate: dt, Up: dt, Vec: 4},
			Add{Dst: dt, A: dt, B: dt, Vec: vec}, Copy{Dst: dt, Src: dt, Vec: vec}, Gather{Dst: kernels.F32, Src: dt, Vec: 4}, Fill{Bytes: dt.Size(), Vec: vec})
	}
	list = append(list, RMSNormWeight{}, ParamItems{}, GradNormItems{}, GradNorm{})
	assembles(t, list)
}
