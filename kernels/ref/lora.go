package ref

import "github.com/selkie-ml/selkie/kernels"

// LoRA implements kernels.Backend.
func (d *Backend) LoRA(a kernels.LoRAArgs) {
	segs, ok := d.segments("LoRA", a.Segments, a.NSeg, a.Rows, a.In, a.Out, a.MaxRank,
		[]kernels.Buffer{a.A}, []kernels.Buffer{a.B})
	if !ok {
		return
	}
	for _, s := range segs {
		rank := int(s.Rank)
		wa, wb := load(a.A.At(int(s.AOffset)), rank*a.In), load(a.B.At(int(s.BOffset)), a.Out*rank)
		h, y := make([]float64, rank), make([]float64, a.Out)
		for i := int(s.RowStart); i < int(s.RowEnd); i++ {
			x := load(a.X.At(i*a.In), a.In)
			for r := range h {
				h[r] = dot(x, wa[r*a.In:][:a.In])
			}
			store(a.H.At(i*a.MaxRank), h)
			loadTo(h, a.H.At(i*a.MaxRank)) // as stored: the same values that backward sees
			for o := range y {
				y[o] = float64(s.Scale) * dot(h, wb[o*rank:][:rank])
			}
			accumulate(a.Y.At(i*a.Out), y)
		}
	}
}

// LoRABackward implements kernels.Backend.
func (d *Backend) LoRABackward(a kernels.LoRABackwardArgs) {
	segs, ok := d.segments("LoRABackward", a.Segments, a.NSeg, a.Rows, a.In, a.Out, a.MaxRank,
		[]kernels.Buffer{a.A, a.DA}, []kernels.Buffer{a.B, a.DB})
	if !ok {
		return
	}
	for _, s := range segs {
		rank, scale := int(s.Rank), float64(s.Scale)
		wa, wb := load(a.A.At(int(s.AOffset)), rank*a.In), load(a.B.At(int(s.BOffset)), a.Out*rank)
		da, db := make([]float64, rank*a.In), make([]float64, a.Out*rank)
		for i := int(s.RowStart); i < int(s.RowEnd); i++ {
			x, dy, h := load(a.X.At(i*a.In), a.In), load(a.DY.At(i*a.Out), a.Out), load(a.H.At(i*a.MaxRank), rank)
			g, dx := make([]float64, rank), make([]float64, a.In)
			for o := range dy {
				axpy(g, scale*dy[o], wb[o*rank:][:rank])
				axpy(db[o*rank:][:rank], scale*dy[o], h)
			}
			for r := range g {
				axpy(dx, g[r], wa[r*a.In:][:a.In])
				axpy(da[r*a.In:][:a.In], g[r], x)
			}
			if !a.DX.IsNil() {
				accumulate(a.DX.At(i*a.In), dx)
			}
		}
		accumulate(a.DA.At(int(s.AOffset)), da)
		accumulate(a.DB.At(int(s.BOffset)), db)
	}
}

// LoRABackwardScratch implements kernels.Backend.
func (d *Backend) LoRABackwardScratch(kernels.LoRABackwardArgs) int64 { return 0 }

// LoRAMerge implements kernels.Backend.
func (d *Backend) LoRAMerge(a kernels.LoRAMergeArgs) {
	wa, wb := load(a.A, a.Rank*a.In), load(a.B, a.Out*a.Rank)
	for o := range a.Out {
		dw := make([]float64, a.In)
		for r := range a.Rank {
			axpy(dw, float64(a.Scale)*wb[o*a.Rank+r], wa[r*a.In:][:a.In])
		}
		accumulate(a.W.At(o*a.In), dw)
	}
}
