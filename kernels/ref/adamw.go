package ref

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

const normBlock = 4096

// GradNorm implements kernels.Backend.
func (d *Backend) GradNorm(a kernels.GradNormArgs) {
	runs, ok := d.params("GradNorm", a.Table, a.NParam, a.Groups, a.Grad)
	if !ok {
		return
	}
	sums := host.F32(a.SumSquares, a.Groups)
	for _, p := range runs {
		var total float64
		for g := load(a.Grad.At(int(p.Offset)), int(p.Count)); len(g) > 0; {
			n := min(normBlock, len(g))
			total += dot(g[:n], g[:n])
			g = g[n:]
		}
		sums[p.Group] = float32(float64(sums[p.Group]) + total)
	}
}

// AdamW implements kernels.Backend.
func (d *Backend) AdamW(a kernels.AdamWArgs) {
	runs, ok := d.params("AdamW", a.Table, a.NParam, a.Groups, a.P, a.Grad, a.M, a.V)
	if !ok {
		return
	}
	sums := load(a.SumSquares, a.Groups)
	settings := load(a.Settings, a.Groups*kernels.AdamColumns)
	for _, run := range runs {
		n, off := int(run.Count), int(run.Offset)
		s := settings[int(run.Group)*kernels.AdamColumns:][:kernels.AdamColumns]
		sum := sums[run.Group]
		if s[kernels.AdamActive] != 0 && !math.IsInf(sum, 0) && !math.IsNaN(sum) {
			c := 1.0
			if s[kernels.AdamMaxNorm] > 0 {
				c = min(1, s[kernels.AdamMaxNorm]/(math.Sqrt(sum)+1e-6))
			}
			p, g := load(a.P.At(off), n), load(a.Grad.At(off), n)
			m, v := load(a.M.At(off), n), load(a.V.At(off), n)
			for e := range p {
				g := c * g[e]
				if run.Decay {
					p[e] -= s[kernels.AdamLR] * s[kernels.AdamDecay] * p[e]
				}
				m[e] = (1-s[kernels.AdamRate1])*m[e] + s[kernels.AdamRate1]*g
				v[e] = (1-s[kernels.AdamRate2])*v[e] + s[kernels.AdamRate2]*g*g
				p[e] -= s[kernels.AdamLR] / s[kernels.AdamBias1] * m[e] /
					(math.Sqrt(v[e])/math.Sqrt(s[kernels.AdamBias2]) + s[kernels.AdamEps])
			}
			store(a.P.At(off), p)
			store(a.M.At(off), m)
			store(a.V.At(off), v)
		}
		store(a.Grad.At(off), make([]float64, n))
	}
}
