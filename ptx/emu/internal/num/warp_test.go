package num

import (
	"math/rand/v2"
	"testing"
)

func TestWarp(t *testing.T) {
	have := Vectors
	defer func() { Vectors = have }()
	type op struct {
		name string
		two  func(d, a, b *[32]uint32, mask uint32)
		one  func(a, b uint32) uint32
	}
	var c [32]uint32
	with := func(f func(d, a, b, c *[32]uint32, mask uint32)) func(d, a, b *[32]uint32, mask uint32) {
		return func(d, a, b *[32]uint32, mask uint32) { f(d, a, b, &c, mask) }
	}
	sc := func(ftz bool, f func(a, b uint32, r Rounding, ftz, sat bool) uint32) func(a, b uint32) uint32 {
		return func(a, b uint32) uint32 { return f(a, b, RN, ftz, false) }
	}
	ops := []op{
		{"add", WarpAdd32, sc(false, Add32)}, {"add.ftz", WarpAdd32Ftz, sc(true, Add32)},
		{"sub", WarpSub32, sc(false, Sub32)}, {"sub.ftz", WarpSub32Ftz, sc(true, Sub32)},
		{"mul", WarpMul32, sc(false, Mul32)}, {"mul.ftz", WarpMul32Ftz, sc(true, Mul32)},
		{"fma", with(WarpFma32), nil}, {"fma.ftz", with(WarpFma32Ftz), nil},
	}
	r := rand.New(rand.NewPCG(21, 21))
	edges := layF32.edges()
	for l := Generic; l <= have; l++ {
		Vectors = l
		for _, o := range ops {
			for range 1000 {
				var a, b, d [32]uint32
				for i := range a {
					e := r.IntN(256)
					a[i], b[i] = uint32(layF32.random(r, e)), uint32(layF32.random(r, 254-e))
					c[i] = uint32(layF32.random(r, 127))
					if r.IntN(4) == 0 {
						a[i], c[i] = uint32(edges[r.IntN(len(edges))]), uint32(edges[r.IntN(len(edges))])
					}
					d[i] = r.Uint32()
				}
				mask := []uint32{full, r.Uint32(), 0}[r.IntN(3)]
				before := d
				o.two(&d, &a, &b, mask)
				for i := range d {
					want := before[i]
					if mask>>i&1 != 0 {
						switch o.name {
						case "fma":
							want = Fma32(a[i], b[i], c[i], RN, false, false)
						case "fma.ftz":
							want = Fma32(a[i], b[i], c[i], RN, true, false)
						default:
							want = o.one(a[i], b[i])
						}
					}
					if d[i] != want {
						t.Fatalf("level %d %s of %#x, %#x, %#x: %#x, want %#x (mask %#x, lane %d)", l, o.name, a[i], b[i], c[i], d[i], want, mask, i)
					}
				}
			}
		}
	}
}

func TestKillSwitches(t *testing.T) {
	for _, c := range []struct {
		set  string
		want Level
	}{{"", AVX512}, {"SELKIE_NO_AVX512", AVX2}, {"SELKIE_NO_AVX2", Generic}} {
		if got := allowed(AVX512, func(n string) string {
			if n == c.set {
				return "1"
			}
			return ""
		}); got != c.want {
			t.Errorf("%s: level %d, want %d", c.set, got, c.want)
		}
	}
}

func BenchmarkFma32(b *testing.B) {
	var x, y, z, d [32]uint32
	for i := range x {
		x[i], y[i], z[i] = 0x3f800000+uint32(i)<<14, 0x3fa00000+uint32(i)<<13, 0x3f900000+uint32(i)<<15
	}
	have := Vectors
	defer func() { Vectors = have }()
	for l := Generic; l <= have; l++ {
		b.Run([]string{"generic", "avx2", "avx512"}[l], func(b *testing.B) {
			Vectors = l
			for b.Loop() {
				WarpFma32(&d, &x, &y, &z, full)
			}
		})
	}
}
