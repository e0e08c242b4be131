package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// rowSum is how rows of dim elements, which lie in the matrices, are summed.
func rowSum(dim int, matrices ...kernels.Buffer) kernel.RowSum {
	vec := 1
	if dividing(vector(4, matrices...), dim) == 4 {
		vec = 4
	}
	return kernel.RowSumOf(dim, vec)
}

// RMSNorm implements kernels.Backend.
func (b *Backend) RMSNorm(a kernels.RMSNormArgs) {
	k := kernel.RMSNorm{Y: a.Y.DType, W: a.W.DType, Add: a.Add.DType, RowSum: rowSum(a.Dim, a.Y, a.X, a.W)}
	if !a.Add.IsNil() {
		k.RowSum = rowSum(a.Dim, a.Y, a.X, a.W, a.Add, a.Sum)
	}
	b.launch("RMSNorm", k, k.Launch(a.Rows), ptr(a.Y), ptr(a.X), ptr(a.W), ptr(a.Add), ptr(a.Sum), num(a.Rows), num(a.Dim), float(a.Eps))
}

// RMSNormBackward implements kernels.Backend.
func (b *Backend) RMSNormBackward(a kernels.RMSNormBackwardArgs) {
	const op = "RMSNormBackward"
	k := kernel.RMSNormBackward{W: a.W.DType, Accumulate: a.Accumulate, Scale: !a.DW.IsNil(), RowSum: rowSum(a.Dim, a.DX, a.DY, a.X, a.W)}
	if a.Rows == 0 {
		return
	}
	var scale kernels.Buffer
	if k.Scale {
		var ok bool
		if scale, ok = b.borrow(op, int64(a.Rows)*4); !ok {
			return
		}
		defer b.Free(scale.Mem)
	}
	b.launch(op, k, k.Launch(a.Rows), ptr(a.DX), ptr(a.DY), ptr(a.X), ptr(a.W), ptr(scale), num(a.Rows), num(a.Dim), float(a.Eps))
	if k.Scale {
		w := kernel.RMSNormWeight{ColumnSums: kernel.ColumnSumsOf(a.Rows)}
		at, tag := b.refusals(op, fmt.Sprintf("sequence %%d: ends at row %%d, want one from its start to %d", a.Rows))
		b.launch(op, w, w.Launch(a.Dim), ptr(a.DW), ptr(a.DY), ptr(a.X), ptr(scale), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.Dim), at, tag)
	}
}
