package vec

import (
	"math"

	"github.com/selkie-ml/selkie/internal/f32math"
)

// The portable forms: the specification that the assembly is tested against.
// Products that are added carry an explicit conversion, which forbids the
// compiler to fuse them.

const lanes = 16

func tree(s *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for l := range w {
			s[l] += s[l+w]
		}
	}
	return s[0]
}

func dotGeneric(a, b []float32) float32 {
	var s [lanes]float32
	i := 0
	for ; i+lanes <= len(a); i += lanes {
		x, y := (*[lanes]float32)(a[i:]), (*[lanes]float32)(b[i:])
		for l := range s {
			s[l] = f32math.FMA32(x[l], y[l], s[l])
		}
	}
	if i < len(a) {
		var x, y [lanes]float32
		copy(x[:], a[i:])
		copy(y[:], b[i:])
		for l := range s {
			s[l] = f32math.FMA32(x[l], y[l], s[l])
		}
	}
	return tree(&s)
}

func axpyGeneric(a float32, x, y []float32) {
	for i, v := range x {
		y[i] = f32math.FMA32(a, v, y[i])
	}
}

func axpyRowsGeneric(o, p, v []float32, stride int) {
	for j, w := range p {
		axpyGeneric(w, v[j*stride:][:len(o)], o)
	}
}

func sumGeneric(x []float32) float32 {
	var s [lanes]float32
	for i, v := range x {
		s[i%lanes] += v
	}
	return tree(&s)
}

func maxGeneric(x []float32) float32 {
	var s [lanes]float32
	for l := range s {
		s[l] = float32(math.Inf(-1))
	}
	for i, v := range x {
		if v > s[i%lanes] {
			s[i%lanes] = v
		}
	}
	for w := lanes / 2; w > 0; w /= 2 {
		for l := range w {
			if s[l+w] > s[l] {
				s[l] = s[l+w]
			}
		}
	}
	return s[0]
}

func sumSquaresGeneric(x []float32) float64 {
	var s [lanes]float64
	for i, v := range x {
		s[i%lanes] += float64(v) * float64(v)
	}
	for w := lanes / 2; w > 0; w /= 2 {
		for l := range w {
			s[l] += s[l+w]
		}
	}
	return s[0]
}

func expGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] = f32math.Exp32(v)
	}
}

func expSubGeneric(dst, x []float32, m float32) float32 {
	for i, v := range x {
		dst[i] = f32math.Exp32(v - m)
	}
	return sumGeneric(dst)
}

func addGeneric(dst, a, b []float32) {
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

func scaleGeneric(dst []float32, a float32, x []float32) {
	for i, v := range x {
		dst[i] = a * v
	}
}

func rmsNormRowGeneric(dst, x, w []float32, inv float32) {
	for i, v := range x {
		dst[i] = v * inv * w[i]
	}
}

func rmsNormSumsGeneric(x, dy, w []float32) (squares float64, dot float32) {
	var s [lanes]float32
	for i, v := range x {
		s[i%lanes] = f32math.FMA32(dy[i]*w[i], v, s[i%lanes])
	}
	if rest := len(x) % lanes; rest > 0 {
		for l := rest; l < lanes; l++ {
			s[l] = f32math.FMA32(0, 0, s[l])
		}
	}
	return sumSquaresGeneric(x), tree(&s)
}

func rmsNormGradGeneric(dx, dy, x, w []float32, inv, slope float32) {
	for i, v := range x {
		dx[i] = f32math.FMA32(slope, v, inv*(dy[i]*w[i]))
	}
}

func rmsNormGradAddGeneric(dx, dy, x, w []float32, inv, slope float32) {
	for i, v := range x {
		dx[i] = f32math.FMA32(slope, v, f32math.FMA32(inv, dy[i]*w[i], dx[i]))
	}
}

func rmsNormWeightRowsGeneric(sum, x, dy, inv []float32, stride int) {
	for r, inv := range inv {
		x, dy := x[r*stride:], dy[r*stride:]
		for i := range sum {
			sum[i] += float32(float32(x[i]*inv) * dy[i])
		}
	}
}

func ropeGeneric(y, x, cos, sin []float32, heads int, sign float32) {
	h := len(cos)
	for head := 0; head < 2*heads*h; head += 2 * h {
		x1, x2 := x[head:][:h], x[head+h:][:h]
		y1, y2 := y[head:][:h], y[head+h:][:h]
		for j, c := range cos {
			s := sign * sin[j]
			a, b := x1[j], x2[j]
			y1[j] = float32(a*c) - float32(b*s)
			y2[j] = float32(b*c) + float32(a*s)
		}
	}
}

func groupMaxGeneric(dst, x []float32) (nan bool) {
	for g := range dst {
		dst[g] = float32(math.Inf(-1))
	}
	for i, v := range x {
		g := i/GroupSpan*lanes + i%lanes
		if v > dst[g] {
			dst[g] = v
		}
		nan = nan || v != v
	}
	return nan
}

func weightsGeneric(dst []uint32, z []float32, m, t float32) {
	for i, v := range z {
		dst[i] = uint32(int32(f32math.Exp32((v-m)/t) * (1 << 30)))
	}
}

func sumAtLeastGeneric(x []uint32, t uint32) (sum uint64) {
	for _, v := range x {
		if v >= t {
			sum += uint64(v)
		}
	}
	return sum
}

func swiGLUGeneric(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = swiGLU1(g, up[i])
	}
}

func swiGLU1(g, u float32) float32 { return g / (1 + f32math.Exp32(-g)) * u }

func swiGLUBackwardGeneric(dgate, dup, gate, up, dy []float32) {
	for i, g := range gate {
		dgate[i], dup[i] = swiGLUBackward1(g, up[i], dy[i])
	}
}

func swiGLUBackward1(g, u, dy float32) (dgate, dup float32) {
	s := 1 / (1 + f32math.Exp32(-g))
	y := g * s
	return dy * u * f32math.FMA32(y, 1-s, s), dy * y
}

// adamCoef holds AdamW's scalars, each rounded to float32 once. The assembly
// reads them in this order.
type adamCoef struct {
	decay, gscale, beta1, rest1, beta2, rest2, step, root, eps float32
}

func newAdamCoef(lr, rate1, rate2, eps, wd, gscale, bc1, bc2 float32) *adamCoef {
	return &adamCoef{
		decay:  1 - float32(lr*wd),
		gscale: gscale,
		beta1:  1 - rate1, rest1: rate1,
		beta2: 1 - rate2, rest2: rate2,
		step: lr / bc1,
		root: float32(math.Sqrt(float64(bc2))),
		eps:  eps,
	}
}

func adamWGeneric(p, g, m, v []float32, c *adamCoef) {
	for i := range p {
		gi := g[i] * c.gscale
		mi := float32(c.beta1*m[i]) + float32(c.rest1*gi)
		vi := float32(c.beta2*v[i]) + float32(c.rest2*float32(gi*gi))
		m[i], v[i] = mi, vi
		den := float32(math.Sqrt(float64(vi)))/c.root + c.eps
		p[i] = float32(p[i]*c.decay) - float32(float32(c.step*mi)/den)
		g[i] = 0
	}
}
