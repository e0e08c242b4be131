package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// GradNorm adds the squares of gradient elements to sumSquares [groups], over
// the runs of table i32 [n, kernels.ParamColumns].
func GradNorm(sumSquares, grad, table *Tensor) {
	mustParamTable("gradnorm", table)
	sumSquares.Device().backend.GradNorm(kernels.GradNormArgs{
		SumSquares: sumSquares.buf, Grad: grad.buf, Table: table.buf, NParam: table.Dim(0), Groups: sumSquares.Len(),
	})
}

// AdamW updates the parameters p by their gradients and zeroes these; m and v
// are the moments, all f32 of one size. settings is f32
// [groups, kernels.AdamColumns], sumSquares [groups] comes from GradNorm.
func AdamW(p, grad, m, v, sumSquares, settings, table *Tensor) {
	mustParamTable("adamw", table)
	if p.Len() != grad.Len() || p.Len() != m.Len() || p.Len() != v.Len() || settings.Len() != sumSquares.Len()*kernels.AdamColumns {
		panic(fmt.Sprintf("adamw: p %v, grad %v, m %v, v %v, settings %v for %d groups",
			p.shape, grad.shape, m.shape, v.shape, settings.shape, sumSquares.Len()))
	}
	p.Device().backend.AdamW(kernels.AdamWArgs{
		P: p.buf, Grad: grad.buf, M: m.buf, V: v.buf, SumSquares: sumSquares.buf, Settings: settings.buf,
		Table: table.buf, NParam: table.Dim(0), Groups: sumSquares.Len(),
	})
}

func mustParamTable(op string, table *Tensor) {
	if table.shape.n != 2 || table.Dim(1) != kernels.ParamColumns {
		panic(fmt.Sprintf("%s: table %v, want [n, %d]", op, table.shape, kernels.ParamColumns))
	}
}
