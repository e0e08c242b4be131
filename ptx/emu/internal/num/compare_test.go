package num

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

func TestCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 7))
	for _, ty := range []ptx.Type{ptx.F16, ptx.BF16, ptx.F32, ptx.F64, ptx.S16, ptx.U16, ptx.S32, ptx.U32, ptx.S64, ptx.U64, ptx.B32} {
		l, float := layoutOf(ty)
		for c := EQ; c <= HS; c++ {
			if byName, ok := CmpByName(c.String()); !ok || byName != c {
				t.Fatalf("name %v", c)
			}
			f, err := Compare(c, ty, false)
			if err != nil {
				t.Fatal(err)
			}
			ftz, err := Compare(c, ty, true)
			if err != nil {
				t.Fatal(err)
			}
			for range 1500 {
				a, b := r.Uint64(), r.Uint64()
				if r.IntN(4) == 0 {
					b = a
				}
				if float {
					e := l.edges()
					if r.IntN(2) == 0 {
						a = e[r.IntN(len(e))]
					}
					if r.IntN(2) == 0 {
						b = e[r.IntN(len(e))]
					}
				}
				m := ^uint64(0) >> (64 - ty.Bits())
				a, b = a&m, b&m
				outcome := func(a, b uint64) (cmp int, un bool) {
					if !float {
						return signedOf(ty, a).Cmp(signedOf(ty, b)), false
					}
					x, y := f64(layToF64(l, a)), f64(layToF64(l, b))
					switch {
					case x != x || y != y:
						return 0, true
					case x < y:
						return -1, false
					case x > y:
						return 1, false
					}
					return 0, false
				}
				want := func(cmp int, un bool) bool {
					switch c {
					case EQ:
						return !un && cmp == 0
					case NE:
						return !un && cmp != 0
					case LT, LO:
						return !un && cmp < 0
					case LE, LS:
						return !un && cmp <= 0
					case GT, HI:
						return !un && cmp > 0
					case GE, HS:
						return !un && cmp >= 0
					case EQU:
						return un || cmp == 0
					case NEU:
						return un || cmp != 0
					case LTU:
						return un || cmp < 0
					case LEU:
						return un || cmp <= 0
					case GTU:
						return un || cmp > 0
					case GEU:
						return un || cmp >= 0
					case NUM:
						return !un
					}
					return un
				}
				if got := f(a, b); got != want(outcome(a, b)) {
					t.Fatalf("%v.%v %#x, %#x: %v", c, ty, a, b, got)
				}
				if ty == ptx.F32 || ty == ptx.F16 {
					fl := func(x uint64) uint64 {
						if x&l.infBits() == 0 {
							return x & l.sign()
						}
						return x
					}
					if got := ftz(a, b); got != want(outcome(fl(a), fl(b))) {
						t.Fatalf("%v.ftz.%v %#x, %#x: %v", c, ty, a, b, got)
					}
				}
			}
		}
	}
	if _, err := Compare(EQ, ptx.F16x2, false); err == nil {
		t.Error("a packed comparison compiles")
	}
}

func TestMinMax(t *testing.T) {
	for _, ty := range []ptx.Type{ptx.F16, ptx.BF16, ptx.F32, ptx.F64} {
		l, _ := layoutOf(ty)
		for flags := range 16 {
			m := MinMax{Max: flags&1 != 0, NaN: flags&2 != 0, XorSignAbs: flags&4 != 0, Ftz: flags&8 != 0 && (ty == ptx.F32 || ty == ptx.F16)}
			l.pairs(500, func(a, b uint64) {
				var got uint64
				switch ty {
				case ptx.F16:
					got = uint64(m.F16(uint16(a), uint16(b)))
				case ptx.BF16:
					got = uint64(m.BF16(uint16(a), uint16(b)))
				case ptx.F32:
					got = uint64(m.F32(uint32(a), uint32(b)))
				default:
					got = m.F64(a, b)
				}
				x, y := a, b
				for _, p := range []*uint64{&x, &y} {
					if m.Ftz && *p&l.infBits() == 0 {
						*p &= l.sign()
					}
				}
				sign := (x ^ y) & l.sign()
				if m.XorSignAbs {
					x, y = x&^l.sign(), y&^l.sign()
				}
				want := x
				u, v := f64(layToF64(l, x)), f64(layToF64(l, y))
				switch {
				case u != u && v != v || m.NaN && (u != u || v != v):
					want = l.nan()
				case u != u:
					want = y
				case v != v:
				case m.Max && (v > u || v == u && !l.neg(y)), !m.Max && (v < u || v == u && l.neg(y)):
					want = y
				}
				if m.XorSignAbs && !l.isNaN(want) {
					want |= sign
				}
				if got != want {
					t.Fatalf("%+v %v of %#x, %#x: %#x, want %#x", m, ty, a, b, got, want)
				}
			})
		}
	}
}

func TestSigns(t *testing.T) {
	classes := []func(l layout, b uint64) bool{
		func(l layout, b uint64) bool { return !l.isNaN(b) && !l.isInf(b) },
		layout.isInf,
		func(l layout, b uint64) bool { return !l.isNaN(b) },
		layout.isNaN,
		func(l layout, b uint64) bool { return !l.isNaN(b) && !l.isInf(b) && b&l.infBits() != 0 },
		func(l layout, b uint64) bool { return b&l.infBits() == 0 && b&(l.sign()-1) != 0 },
	}
	for c, f := range classes {
		if k, ok := ClassByName(classNames[c]); !ok || k != Class(c) {
			t.Error(classNames[c])
		}
		for _, b := range layF32.edges() {
			if got := Testp32(Class(c), uint32(b)); got != f(layF32, b) {
				t.Errorf("testp.%s.f32 %#x: %v", classNames[c], b, got)
			}
		}
		for _, b := range layF64.edges() {
			if got := Testp64(Class(c), b); got != f(layF64, b) {
				t.Errorf("testp.%s.f64 %#x: %v", classNames[c], b, got)
			}
		}
	}
	if Copysign32(0x80000000, 0x3f800000) != 0xbf800000 || Copysign64(0, 1<<63|5) != 5 {
		t.Error("copysign")
	}
	if Abs32(0x80000001, true) != 0 || Abs32(0xbf800000, false) != 0x3f800000 || Neg32(1, true) != 1<<31 || Neg32(1, false) != 1<<31|1 {
		t.Error("abs, neg")
	}
	if bits.OnesCount32(MinMaxX2(0x7fff8000, 0x80007fff, true, true, false)^0x7fff7fff) != 0 || MinMaxX2(0x7fff8000, 0x80007fff, false, true, true) != 0 ||
		MinMaxX2(0x7fff8000, 0x80007fff, true, false, false) != 0x80008000 || MinReluS32(5, 1<<31) != 0 || MaxReluS32(1<<31, 3) != 3 || MaxReluS32(1<<31, 1<<31|1) != 0 {
		t.Error("min, max of integers")
	}
}
