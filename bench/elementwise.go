package bench

import (
	"github.com/selkie-ml/selkie/kernels"
)

// elementwise are ops on arrays beyond cache, bound by memory. Bytes are those
// that the op's definition reads and writes, each once.
func elementwise(s Sizes) ([]Case, error) {
	c, err := Shape(s.Large)
	if err != nil {
		return nil, err
	}
	n := s.Elements
	dim := c.HiddenSize
	rows := n / dim
	return []Case{
		{
			// Reads the values, gradients and both moments, and writes all four:
			// gradients are left zero.
			Name: "elementwise/adamw", Work: Work{Bytes: 32 * float64(n)}, Spec: Spec{Op: "adamw", Type: F32, N: n},
			setup: func(e *Env) (*Run, error) {
				a, b := &arrays{env: e}, e.dev.Backend()
				args := kernels.AdamWArgs{P: a.random(kernels.F32, n), Grad: a.random(kernels.F32, n), M: a.zeros(kernels.F32, n), V: a.zeros(kernels.F32, n),
					SumSquares: a.floats([]float32{1}), Settings: a.floats([]float32{1e-4, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001, 1, 1}),
					Table: a.ints(kernels.Param{Count: int32(n), Decay: true}.AppendTo(nil)), NParam: 1, Groups: 1}
				return a.ops(func() { b.AdamW(args) })
			},
		},
		{
			Name: "elementwise/rmsnorm", Work: Work{Bytes: 8 * float64(rows*dim)}, Spec: Spec{Op: "rmsnorm", Type: F32, M: rows, N: dim},
			setup: func(e *Env) (*Run, error) {
				a, b := &arrays{env: e}, e.dev.Backend()
				args := kernels.RMSNormArgs{Y: a.zeros(kernels.F32, rows*dim), X: a.random(kernels.F32, rows*dim), W: a.random(kernels.F32, dim), Rows: rows, Dim: dim, Eps: 1e-6}
				return a.ops(func() { b.RMSNorm(args) })
			},
		},
		{
			Name: "elementwise/swiglu", Work: Work{Bytes: 12 * float64(n)}, Spec: Spec{Op: "swiglu", Type: F32, N: n},
			setup: func(e *Env) (*Run, error) {
				a, b := &arrays{env: e}, e.dev.Backend()
				args := kernels.SwiGLUArgs{Y: a.zeros(kernels.F32, n), Gate: a.random(kernels.F32, n), Up: a.random(kernels.F32, n), N: n}
				return a.ops(func() { b.SwiGLU(args) })
			},
		},
	}, nil
}
