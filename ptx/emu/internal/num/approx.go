package num

import "math"

// Approximations (PTX ISA 9.7.3 and 9.7.4). The ISA bounds their errors and leaves the
// bits open; here they are the true value computed in f64 and rounded, so nearly
// always the nearest f32. Every step is one IEEE operation in a fixed order: results are
// the same on every machine.

// approx wraps an f32 function in .ftz.
func approx(a uint32, ftz bool, f func(float64) float64) uint32 {
	if ftz {
		return Ftz32(canon32(float32(f(float64(f32(Ftz32(a)))))))
	}
	return canon32(float32(f(float64(f32(a)))))
}

// Ex2 is ex2.approx{.ftz}.f32 (9.7.3.21): 2 ulp.
func Ex2(a uint32, ftz bool) uint32 { return approx(a, ftz, exp2) }

// Lg2 is lg2.approx{.ftz}.f32 (9.7.3.20): relative error 2^-22.
func Lg2(a uint32, ftz bool) uint32 { return approx(a, ftz, log2) }

// Sin is sin.approx{.ftz}.f32 (9.7.3.18): absolute error 2^-20.5 in [-2π, 2π].
func Sin(a uint32, ftz bool) uint32 { return approx(a, ftz, sin) }

// Cos is cos.approx{.ftz}.f32 (9.7.3.19): absolute error 2^-20.5 in [-2π, 2π].
func Cos(a uint32, ftz bool) uint32 { return approx(a, ftz, cos) }

// Tanh is tanh.approx.f32 (9.7.3.22): relative error 2^-11; it takes no .ftz.
func Tanh(a uint32) uint32 { return approx(a, false, tanh) }

// RcpApprox is rcp.approx{.ftz}.f32 (9.7.3.13): 1 ulp.
func RcpApprox(a uint32, ftz bool) uint32 { return Rcp32(a, RN, ftz) }

// SqrtApprox is sqrt.approx{.ftz}.f32 (9.7.3.15): relative error 2^-23.
func SqrtApprox(a uint32, ftz bool) uint32 { return Sqrt32(a, RN, ftz) }

// Rsqrt is rsqrt.approx{.ftz}.f32 (9.7.3.16): relative error 2^-22.9.
func Rsqrt(a uint32, ftz bool) uint32 {
	if ftz {
		a = Ftz32(a)
	}
	return canon32(float32(1 / math.Sqrt(float64(f32(a)))))
}

// DivApprox is div.approx{.ftz}.f32 (9.7.3.8): 2 ulp for |b| in [2^-126, 2^126]; for
// larger finite b, 0, and NaN of an infinite a.
func DivApprox(a, b uint32, ftz bool) uint32 {
	if m := b &^ sign32; m > 0x7e800000 && m < inf32 && !isNaN32(a) {
		if a&^sign32 == inf32 {
			return nan32
		}
		return (a ^ b) & sign32
	}
	return Div32(a, b, RN, ftz)
}

// DivFull is div.full{.ftz}.f32 (9.7.3.8): 2 ulp.
func DivFull(a, b uint32, ftz bool) uint32 { return Div32(a, b, RN, ftz) }

// RcpApprox64 is rcp.approx.ftz.f64 (9.7.3.14): of the upper 32 bits of a, with the lower
// 32 bits of the result zero.
func RcpApprox64(a uint64) uint64 { return gross(a, func(x float64) float64 { return 1 / x }) }

// RsqrtApproxFtz64 is rsqrt.approx.ftz.f64 (9.7.3.17), of the upper 32 bits.
func RsqrtApproxFtz64(a uint64) uint64 {
	return gross(a, func(x float64) float64 { return 1 / math.Sqrt(x) })
}

func gross(a uint64, f func(float64) float64) uint64 {
	if f64(a) != f64(a) {
		return nan64 &^ (1<<32 - 1)
	}
	a &^= 1<<32 - 1
	if a&inf64 == 0 {
		a &= sign64
	}
	r := canon64(f(f64(a)))
	if r&inf64 == 0 {
		r &= sign64
	}
	if r&^sign64 < inf64 {
		r += 1 << 31 // nearest; the carry cannot pass the largest number's exponent
	}
	return r &^ (1<<32 - 1)
}

// RsqrtApprox64 is rsqrt.approx.f64 (9.7.3.16), without flushing.
func RsqrtApprox64(a uint64) uint64 {
	x := f64(a)
	s := math.Sqrt(x)
	y := 1 / s
	if s > 0 && !math.IsInf(s, 1) {
		// One Newton step on 1/√x with exact residuals: e = 1 − x·y².
		h := y * y
		e := math.FMA(-x, h, 1)
		e = math.FMA(-x, math.FMA(y, y, -h), e)
		if z := math.FMA(float64(0.5*y), e, y); z == z && !math.IsInf(z, 0) {
			y = z
		}
	}
	return canon64(y)
}

// poly evaluates by Horner's rule, the coefficient of the highest power first.
func poly(x float64, c ...float64) float64 {
	y := c[0]
	for _, k := range c[1:] {
		y = math.FMA(y, x, k)
	}
	return y
}

// exp2 is 2^x for an f32 x: the fraction by its Taylor series, to 2^-37.
func exp2(x float64) float64 {
	switch {
	case x > 1100:
		return math.Inf(1)
	case x < -1000:
		return 0
	case x != x:
		return x
	}
	n := math.RoundToEven(x)
	t := float64((x - n) * math.Ln2)
	p := poly(t, 1./362880, 1./40320, 1./5040, 1./720, 1./120, 1./24, 1./6, 1./2, 1, 1)
	return p * math.Float64frombits(uint64(int64(n)+1023)<<52)
}

// log2 is exact for powers of two; elsewhere by the series of atanh, to 2^-40.
func log2(x float64) float64 {
	switch {
	case x == 0:
		return math.Inf(-1)
	case x < 0 || x != x:
		return math.NaN()
	case math.IsInf(x, 1):
		return x
	}
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = m*2, e-1
	}
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	p := poly(q, 1./15, 1./13, 1./11, 1./9, 1./7, 1./5, 1./3, 1)
	return math.FMA(float64(s*(2/math.Ln2)), p, float64(e))
}

// quarter gives x − n·π/2, |x − n·π/2| ≤ π/4, and n modulo 4.
func quarter(x float64) (float64, int) {
	const hi, lo = 1.5707963267948966, 6.123233995736766e-17
	if math.Abs(x) > 1<<40 {
		x = math.Mod(x, 2*math.Pi) // beyond any documented accuracy
	}
	n := math.RoundToEven(float64(x * (2 / math.Pi)))
	return math.FMA(-n, lo, math.FMA(-n, hi, x)), int(int64(n) & 3)
}

func sinPoly(x float64) float64 {
	q := float64(x * x)
	p := poly(q, 1./6227020800, -1./39916800, 1./362880, -1./5040, 1./120, -1./6)
	return math.FMA(float64(x*q), p, x)
}

func cosPoly(x float64) float64 {
	return poly(float64(x*x), -1./87178291200, 1./479001600, -1./3628800, 1./40320, -1./720, 1./24, -1./2, 1)
}

func sin(x float64) float64 { return sinQuarter(x, 0) }
func cos(x float64) float64 { return sinQuarter(x, 1) }

func sinQuarter(x float64, turn int) float64 {
	if x-x != 0 { // infinite or NaN
		return math.NaN()
	}
	r, n := quarter(x)
	n += turn
	y := sinPoly(r)
	if n&1 != 0 {
		y = cosPoly(r)
	}
	if n&2 != 0 {
		return -y
	}
	if y == 0 {
		return math.Copysign(y, x)
	}
	return y
}

func tanh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x != x || x == 0:
		return x
	case a < 1./8:
		q := float64(x * x)
		return math.FMA(float64(x*q), poly(q, 62./2835, -17./315, 2./15, -1./3), x)
	case a > 40:
		return math.Copysign(1, x)
	}
	e := exp2(float64(a * (2 * math.Log2E)))
	return math.Copysign(1-2/(e+1), x)
}

// Ex2F16 is ex2.approx{.ftz}.f16 (9.7.4.10): relative error 2^-9.9. Subnormal results
// are kept.
func Ex2F16(a uint16) uint16 { return toF16(exp2(f16(a))) }

// Ex2BF16 is ex2.approx.ftz.bf16 (9.7.4.10): relative error 2^-7, subnormals flushed.
func Ex2BF16(a uint16) uint16 {
	if a&0x7f80 == 0 {
		a &= 0x8000
	}
	r := toBF16(exp2(bf16(a)))
	if r&0x7f80 == 0 {
		r = 0
	}
	return r
}

// TanhF16 is tanh.approx.f16 (9.7.4.9): absolute error 2^-10.987.
func TanhF16(a uint16) uint16 { return toF16(tanh(f16(a))) }

// TanhBF16 is tanh.approx.bf16 (9.7.4.9): absolute error 2^-8.
func TanhBF16(a uint16) uint16 { return toBF16(tanh(bf16(a))) }

// Halves applies f to both halves of a register.
func Halves(a uint32, f func(uint16) uint16) uint32 {
	return uint32(f(uint16(a))) | uint32(f(uint16(a>>16)))<<16
}
