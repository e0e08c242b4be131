package ref

import "github.com/selkie-ml/selkie/kernels"

// Linear implements kernels.Backend.
func (d *Backend) Linear(a kernels.LinearArgs) {
	x, w := load(a.X, a.Rows*a.In), make([]float64, a.In)
	y := make([]float64, a.Rows*a.Out)
	bias := make([]float64, a.Out)
	if !a.Bias.IsNil() {
		loadTo(bias, a.Bias)
	}
	for o := range a.Out {
		loadTo(w, a.W.At(o*a.In))
		for i := range a.Rows {
			y[i*a.Out+o] = dot(x[i*a.In:][:a.In], w) + bias[o]
		}
	}
	store(a.Y, y)
}

// LinearBackwardInput implements kernels.Backend.
func (d *Backend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	dy, w := load(a.DY, a.Rows*a.Out), make([]float64, a.In)
	dx := make([]float64, a.Rows*a.In)
	for o := range a.Out {
		loadTo(w, a.W.At(o*a.In))
		for i := range a.Rows {
			axpy(dx[i*a.In:][:a.In], dy[i*a.Out+o], w)
		}
	}
	if a.Accumulate {
		accumulate(a.DX, dx)
	} else {
		store(a.DX, dx)
	}
}

// LinearBackwardWeight implements kernels.Backend.
func (d *Backend) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	starts, ok := d.sequences("LinearBackwardWeight", a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	dy := load(a.DY, a.Rows*a.Out)
	for s := range a.NSeq {
		first, end := int(starts[s]), int(starts[s+1])
		if first == end {
			continue
		}
		if !a.DW.IsNil() {
			x := load(a.X.At(first*a.In), (end-first)*a.In)
			dw := make([]float64, a.Out*a.In)
			for o := range a.Out {
				for i := first; i < end; i++ {
					axpy(dw[o*a.In:][:a.In], dy[i*a.Out+o], x[(i-first)*a.In:][:a.In])
				}
			}
			accumulate(a.DW, dw)
		}
		if !a.DBias.IsNil() {
			sum := make([]float64, a.Out)
			for i := first; i < end; i++ {
				axpy(sum, 1, dy[i*a.Out:][:a.Out])
			}
			accumulate(a.DBias, sum)
		}
	}
}
