package bench

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Products of a training step: forward (NT), the input's gradient (NN) and the
// weight's (TN), which are added to, as in training.
const (
	NT = "NT" // [m, k]·[n, k]ᵀ
	NN = "NN" // [m, k]·[k, n]
	TN = "TN" // [k, m]ᵀ·[k, n]
)

// products are the matrix products: squares, a training batch through every
// linear layer of a shape, products with adapters' thin matrices, and few rows
// through weights that come from memory.
func products(s Sizes) ([]Case, error) {
	var out []Case
	for _, n := range s.Squares {
		for _, layout := range []string{NT, NN, TN} {
			out = append(out, productCase(fmt.Sprintf("square/%d", n), F32, layout, n, n, n))
		}
		out = append(out, productCase(fmt.Sprintf("square/%d", n), BF16W, NT, n, n, n), productCase(fmt.Sprintf("square/%d", n), BF16, NT, n, n, n))
	}
	for _, shape := range s.Shapes {
		c, err := Shape(shape)
		if err != nil {
			return nil, err
		}
		for _, kind := range []string{F32, BF16W, BF16} {
			for _, l := range linears(c) {
				in, o := l[0], l[1]
				name := fmt.Sprintf("train/%s/%dto%d", shape, in, o)
				out = append(out, productCase(name, kind, NT, s.Rows, in, o), productCase(name, kind, NN, s.Rows, o, in))
				if kind == F32 {
					out = append(out, productCase(name, kind, TN, o, s.Rows, in))
				}
			}
		}
	}
	large, err := Shape(s.Large)
	if err != nil {
		return nil, err
	}
	for _, r := range s.Ranks {
		d := large.HiddenSize
		for _, p := range []struct {
			name    string
			layout  string
			m, k, n int
		}{{"down", NT, s.Rows, d, r}, {"up", NT, s.Rows, r, d}, {"dx-down", NN, s.Rows, d, r}, {"dx-up", NN, s.Rows, r, d},
			{"dA", TN, r, s.Rows, d}, {"dB", TN, d, s.Rows, r}} {
			out = append(out, productCase(fmt.Sprintf("lora/rank%d/%s", r, p.name), F32, p.layout, p.m, p.k, p.n))
		}
	}
	for _, rows := range []int{1, 8, 32} {
		for _, kind := range []string{F32, BF16W, BF16} {
			for _, l := range linears(large) {
				if l[1] < large.HiddenSize {
					continue // keys and values: too small to be what is waited for
				}
				out = append(out, coldCase(rows, kind, l[0], l[1], s.Cold))
			}
		}
	}
	return out, nil
}

// productCase is one product on operands that are used again and again.
func productCase(name, kind, layout string, m, k, n int) Case {
	return Case{
		Name: fmt.Sprintf("products/%s/%s/%s", kind, name, layout),
		Work: Work{FLOPs: product(m, k, n), BF16: kind == BF16},
		Spec: Spec{Op: "product", Type: kind, Layout: layout, M: m, K: k, N: n},
		setup: func(e *Env) (*Run, error) {
			return startProduct(e, kind, layout, m, k, n, 1)
		},
	}
}

// coldCase multiplies rows by weights that come from memory: enough copies of
// them are gone through in turn.
func coldCase(rows int, kind string, in, out, cold int) Case {
	stored, _ := kindTypes(kind)
	bytes := in * out * stored.Size()
	copies := max(2, (cold+bytes-1)/bytes)
	return Case{
		Name: fmt.Sprintf("products/%s/cold/rows%d/%dto%d", kind, rows, in, out),
		Work: Work{FLOPs: product(rows, in, out), BF16: kind == BF16, Bytes: float64(bytes)},
		Spec: Spec{Op: "product", Type: kind, Layout: NT, M: rows, K: in, N: out, Copies: copies},
		setup: func(e *Env) (*Run, error) {
			return startProduct(e, kind, NT, rows, in, out, copies)
		},
	}
}

func startProduct(e *Env, kind, layout string, m, k, n, copies int) (*Run, error) {
	if err := fits("a product", 4*(m*k+m*n+copies*k*n)); err != nil {
		return nil, err
	}
	wType, xType := kindTypes(kind)
	a := &arrays{env: e}
	b := e.dev.Backend()
	switch layout {
	case NT:
		x, y := a.random(xType, m*k), a.zeros(xType, m*n)
		ws := make([]kernels.Buffer, copies)
		for i := range ws {
			ws[i] = a.random(wType, n*k)
		}
		next := 0
		return a.ops(func() {
			b.Linear(kernels.LinearArgs{Y: y, X: x, W: ws[next], Rows: m, In: k, Out: n})
			next = (next + 1) % copies
		})
	case NN:
		dy, w, dx := a.random(xType, m*k), a.random(wType, k*n), a.zeros(kernels.F32, m*n)
		return a.ops(func() {
			b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: dx, DY: dy, W: w, Rows: m, In: n, Out: k})
		})
	default:
		dy, x, dw := a.random(kernels.F32, k*m), a.random(xType, k*n), a.zeros(kernels.F32, m*n)
		starts := a.ints([]int32{0, int32(k)})
		return a.ops(func() {
			b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: dw, DY: dy, X: x, Starts: starts, NSeq: 1, Rows: k, In: n, Out: m})
		})
	}
}
