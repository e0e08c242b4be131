package f32math

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// exactFMA is a·b + c in arbitrary precision, rounded once.
func exactFMA(a, b, c float32) float32 {
	x := new(big.Float).SetPrec(2000).SetFloat64(float64(a))
	x.Mul(x, big.NewFloat(float64(b)).SetPrec(2000))
	x.Add(x, new(big.Float).SetPrec(2000).SetFloat64(float64(c)))
	r, _ := x.Float32()
	return r
}

func TestFMA32AgainstExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(a, b, c float32) {
		t.Helper()
		got, want := FMA32(a, b, c), exactFMA(a, b, c)
		if got != want {
			t.Fatalf("FMA32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	finite := func() float32 {
		for {
			f := math.Float32frombits(rng.Uint32())
			if f-f == 0 {
				return f
			}
		}
	}
	for range 60_000 {
		check(finite(), finite(), finite())
		// Near magnitudes, where sums cancel and ties abound.
		a, b := rng.Float32()*2-1, rng.Float32()*2-1
		check(a, b, float32(math.Ldexp(float64(rng.Float32()*2-1), rng.IntN(60)-30)))
		check(a, b, -float32(float64(a)*float64(b)))
		// Few significant bits: exact ties of the sum, with and without a sticky rest far below.
		u, v := float32(rng.IntN(1<<12)), float32(rng.IntN(1<<13))
		w := float32(math.Ldexp(float64(1<<23+rng.IntN(1<<23)), 1+rng.IntN(3)))
		check(u, v, w)
		check(-u, v, w)
		check(float32(math.Ldexp(float64(u), -rng.IntN(40))), v+0.5, w)
		// Subnormal results.
		s := float32(math.Ldexp(float64(rng.Float32()), -60-rng.IntN(14)))
		check(s, float32(math.Ldexp(float64(rng.Float32()-0.5), -66)), float32(math.Ldexp(float64(rng.Float32()-0.5), -126-rng.IntN(24))))
	}
}

// TestFMA32DoubleRounding is the case that float32(float64(a)*float64(b)+float64(c)) gets wrong.
func TestFMA32DoubleRounding(t *testing.T) {
	wrong := 0
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1_000_000 {
		// c + half an ulp of c + something below float64's reach.
		c := 1 + float32(rng.IntN(1<<23))*0x1p-23
		a, b := float32(1+float64(1+rng.IntN(1<<10))*0x1p-23), float32(0x1p-24*(1-float64(rng.IntN(1<<11))*0x1p-24))
		naive := float32(float64(a)*float64(b) + float64(c))
		if got := FMA32(a, b, c); got != naive {
			wrong++
			if want := exactFMA(a, b, c); got != want {
				t.Fatalf("FMA32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
			}
		}
	}
	t.Logf("double rounding is wrong in %d of the cases", wrong)
	if wrong == 0 {
		t.Fatal("the cases never need the odd rounding: the test proves nothing")
	}
}

func TestFMA32Special(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct{ a, b, c, want float32 }{
		{inf, 1, 1, inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan}, {1, 1, -inf, -inf}, {nan, 1, 1, nan},
		{math.MaxFloat32, 2, 0, inf}, {math.MaxFloat32, 2, -math.MaxFloat32, math.MaxFloat32},
		{math.MaxFloat32, 1, 0x1p103, inf}, {math.MaxFloat32, 1, 0x1.fffffep102, math.MaxFloat32},
		{negZero, 1, negZero, negZero}, {negZero, 1, 0, 0}, {1, 1, -1, 0},
		{-0x1p-100, 0x1p-100, 0, negZero}, {0x1p-75, 0x1.000002p-75, 0, 0x1p-149},
	} {
		got := FMA32(c.a, c.b, c.c)
		if math.Float32bits(got) != math.Float32bits(c.want) && !(got != got && c.want != c.want) {
			t.Errorf("FMA32(%v, %v, %v) = %v, want %v", c.a, c.b, c.c, got, c.want)
		}
	}
}

func TestExp32Accuracy(t *testing.T) {
	step := uint32(997)
	if testing.Short() {
		step = 99991
	}
	worst, at := 0.0, float32(0)
	try := func(x float32) {
		want := math.Exp(float64(x))
		got := float64(Exp32(x))
		ulp := math.Ldexp(1, max(math.Ilogb(want), -126)-23)
		if e := math.Abs(got-want) / ulp; e > worst {
			worst, at = e, x
		}
	}
	for b := uint32(0); b <= math.Float32bits(ExpHi); b += step {
		try(math.Float32frombits(b))
	}
	for b := uint32(1 << 31); b <= math.Float32bits(ExpLo); b += step {
		try(math.Float32frombits(b))
	}
	t.Logf("largest error %.3f ulp at x = %x", worst, at)
	if !(worst < 1) {
		t.Errorf("largest error %.3f ulp at x = %x, want < 1", worst, at)
	}
}

func TestExp32Edges(t *testing.T) {
	inf := float32(math.Inf(1))
	if got := Exp32(ExpHi); !(got > 3.4e38 && got < inf) {
		t.Errorf("Exp32(ExpHi) = %v, want finite and near the largest float32", got)
	}
	if got := math.Exp(float64(math.Nextafter32(ExpHi, inf))); float32(got) != inf {
		t.Errorf("the float32 above ExpHi has the finite exponential %v", got)
	}
	if got := Exp32(math.Nextafter32(ExpHi, inf)); got != inf {
		t.Errorf("above ExpHi: %v, want +Inf", got)
	}
	if got := Exp32(ExpLo); !(got >= 0x1p-126 && got < 0x1.0001p-126) {
		t.Errorf("Exp32(ExpLo) = %x, want a normal number just above 2⁻¹²⁶", got)
	}
	if got := Exp32(math.Nextafter32(ExpLo, -inf)); got != 0 || math.Signbit(float64(got)) {
		t.Errorf("below ExpLo: %v, want +0", got)
	}
	if got := math.Exp(float64(math.Nextafter32(ExpLo, -inf))); got >= 0x1p-126 {
		t.Errorf("the float32 below ExpLo has the normal exponential %x", got)
	}
	for x, want := range map[float32]float32{0: 1, inf: inf, -inf: 0, 1e30: inf, -1e30: 0, 0x1p-149: 1} {
		if got := Exp32(x); got != want {
			t.Errorf("Exp32(%v) = %v, want %v", x, got, want)
		}
	}
	if got := math.Float32bits(Exp32(float32(math.NaN()))); got != 0x7FC00000 {
		t.Errorf("Exp32(NaN) has bits %#x, want 0x7fc00000", got)
	}
}

func BenchmarkFMA32(b *testing.B) {
	acc := float32(0)
	for i := range b.N {
		acc = FMA32(acc, 0.99, float32(i&7))
	}
	sink = acc
}

func BenchmarkExp32(b *testing.B) {
	acc := float32(0)
	for i := range b.N {
		acc += Exp32(float32(i&63) - 60)
	}
	sink = acc
}

var sink float32
