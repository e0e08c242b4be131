package tensor

import (
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// Add returns a + b, of one shape, in f32: the residual stream.
func Add(tp *Tape, a, b *Tensor) *Tensor {
	if !slices.Equal(a.shape, b.shape) {
		panic(fmt.Sprintf("add: a %v, b %v", a.shape, b.shape))
	}
	mustContiguous("add", a, b)
	y := tp.new(F32, a.shape...)
	tp.dev.backend.Add(kernels.AddArgs{Dst: y.buf, A: a.buf, B: b.buf, N: y.Len()})
	tp.record("add", y, []*Tensor{a, b}, nil, func(dy *Tensor) {
		tp.addGrad(a, dy)
		tp.addGrad(b, dy)
	})
	return y
}
