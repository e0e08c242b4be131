package num

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// sparse thins the values of 16-bit types where all of them would take too long, and
// oneIn picks one mode for each triple of operands; SELKIE_HEAVY=1 tries all.
var sparse = func() int {
	if os.Getenv("SELKIE_HEAVY") == "1" {
		return 1
	}
	return 97
}()

func oneIn(n, i int) bool { return sparse == 1 || i%n == 0 }

var floatTypes = []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32, ptx.F32, ptx.F64, ptx.E4M3, ptx.E5M2}
var intTypes = []ptx.Type{ptx.U8, ptx.U16, ptx.U32, ptx.U64, ptx.S8, ptx.S16, ptx.S32, ptx.S64}

// samples are all values of types of up to 16 bits, else edges and random ones.
func samples(t ptx.Type) []uint64 {
	var s []uint64
	if t.Bits() <= 16 {
		for i := range uint64(1) << t.Bits() {
			s = append(s, i)
		}
		return s
	}
	r := rand.New(rand.NewPCG(3, uint64(t)))
	if l, ok := layoutOf(t); ok {
		s = l.edges()
		for range 600 {
			s = append(s, l.random(r, r.IntN(1<<l.exp)))
		}
		for e := -30; e < 70; e++ { // near whole numbers and their halves
			for range 4 {
				b := l.random(r, 0)
				b = b&^(l.infBits()) | uint64(e+l.bias())<<l.man
				if r.IntN(2) == 0 && e >= 0 && e < int(l.man) {
					b &^= (1<<l.man - 1) >> (e + 1)
				}
				s = append(s, b)
			}
		}
		if t == ptx.TF32 {
			t = ptx.F32
		}
		return s
	}
	for i := range uint(t.Bits()) {
		for d := range uint64(4) {
			s = append(s, 1<<i+d, 1<<i-d, -(1<<i)-d, -(1<<i)+d)
		}
	}
	for range 1000 {
		s = append(s, r.Uint64()>>r.IntN(t.Bits()), -(r.Uint64() >> r.IntN(t.Bits())))
	}
	for i := range s {
		s[i] &= ^uint64(0) >> (64 - t.Bits())
	}
	return s
}

func signedOf(t ptx.Type, b uint64) *big.Int {
	x := new(big.Int).SetUint64(b)
	if t.Kind() == ptx.KindSigned && b>>(t.Bits()-1)&1 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(t.Bits())))
	}
	return x
}

func clampBig(x *big.Int, t ptx.Type) *big.Int {
	low, high := new(big.Int), new(big.Int)
	w := uint(t.Bits())
	if t.Kind() == ptx.KindSigned {
		low.Neg(low.Lsh(big.NewInt(1), w-1))
		high.Sub(high.Lsh(big.NewInt(1), w-1), big.NewInt(1))
	} else {
		high.Sub(high.Lsh(big.NewInt(1), w), big.NewInt(1))
	}
	if x.Cmp(low) < 0 {
		return low
	}
	if x.Cmp(high) > 0 {
		return high
	}
	return x
}

// bits64 is a number in two's complement of 64 bits.
func bits64(x *big.Int) uint64 {
	return new(big.Int).And(x, new(big.Int).SetUint64(^uint64(0))).Uint64()
}

func TestCvtFloatToFloat(t *testing.T) {
	n, forms := 0, 0
	for _, src := range floatTypes {
		for _, dst := range floatTypes {
			sl, _ := layoutOf(src)
			dl, _ := layoutOf(dst)
			rs := modes
			if dst == ptx.TF32 {
				rs = []Rounding{RN, RZ, RNA}
			}
			in := samples(src)
			for _, r := range rs {
				for flags := range 8 {
					c := Cvt{Dst: dst, Src: src, Rnd: r, Sat: flags == 1, Relu: flags == 2, SatFinite: flags == 3, Ftz: flags == 4, Int: flags == 5}
					if flags > 5 || c.Sat && dl.finite || c.Int && dst == ptx.TF32 {
						continue
					}
					f, err := c.Unary()
					if err != nil {
						t.Fatal(err)
					}
					forms++
					for i, y := range in {
						if len(in) > 60000 && (r != RN || flags > 0 || dst != ptx.F32 && dst != ptx.E4M3 && dst != ptx.E5M2) && i%sparse != 0 {
							continue
						}
						if src == ptx.TF32 && dst != ptx.TF32 {
							continue
						}
						got := f(y)
						want := c.reference(sl, dl, y)
						if dst == ptx.TF32 {
							if dl.isNaN(want) {
								want = nan32
							} else {
								want <<= 13
							}
						}
						n++
						if got != want {
							t.Fatalf("%+v of %#x: %#x, want %#x", c, y, got, want)
						}
					}
				}
			}
		}
	}
	t.Logf("%d forms, %d results", forms, n)
}

// reference is a conversion of formats by exact arithmetic.
func (c Cvt) reference(sl, dl layout, x uint64) uint64 {
	neg := sl.neg(x)
	mag := x & (sl.sign() - 1)
	if c.Ftz && c.Src == ptx.F32 && mag < 1<<23 {
		mag = 0
	}
	nan := dl.nan()
	var out uint64
	switch {
	case sl.finite && mag == sl.limit() || !sl.finite && mag > sl.infBits():
		if c.Sat {
			return 0
		}
		return nan
	case !sl.finite && mag == sl.infBits():
		out = dl.limit()
		if c.SatFinite {
			out--
		}
	case mag == 0:
	default:
		v := sl.rat(mag)
		if neg {
			v.Neg(v)
		}
		if c.Int {
			v.SetInt(nearestInt(v, c.Rnd))
		}
		if v.Sign() != 0 {
			out = dl.ofRat(v, c.Rnd) &^ dl.sign()
		}
		if c.SatFinite && out >= dl.limit() {
			out = dl.limit() - 1
		}
	}
	if c.Ftz && c.Dst == ptx.F32 && out < 1<<23 {
		out = 0
	}
	if c.Sat || c.Relu {
		if neg {
			return 0
		}
		if c.Sat {
			out = min(out, dl.one())
		}
	}
	if neg {
		out |= dl.sign()
	}
	return out
}

func TestCvtFloatToInt(t *testing.T) {
	n := 0
	for _, src := range []ptx.Type{ptx.F16, ptx.BF16, ptx.F32, ptx.F64} {
		l, _ := layoutOf(src)
		in := samples(src)
		for _, dst := range intTypes {
			for _, r := range modes {
				for _, ftz := range []bool{false, true} {
					if ftz && src != ptx.F32 {
						continue
					}
					f, err := Cvt{Dst: dst, Src: src, Rnd: r, Int: true, Ftz: ftz}.Unary()
					if err != nil {
						t.Fatal(err)
					}
					for i, x := range in {
						if src.Bits() == 16 && (r != RZ || dst != ptx.S32 && dst != ptx.U64) && i%sparse != 0 {
							continue
						}
						var want uint64
						switch {
						case l.isNaN(x):
							if src == ptx.F64 || dst.Bits() == 64 {
								want = extend(dst, 1<<(dst.Bits()-1))
							}
						case l.isInf(x):
							inf := new(big.Int).Lsh(big.NewInt(1), 70)
							if l.neg(x) {
								inf.Neg(inf)
							}
							want = bits64(clampBig(inf, dst))
						default:
							if ftz && x&0x7f800000 == 0 {
								break
							}
							want = bits64(clampBig(nearestInt(l.rat(x), r), dst))
						}
						n++
						if got := f(x); got != want {
							t.Fatalf("cvt.%vi.%v.%v of %#x: %#x, want %#x", r, dst, src, x, got, want)
						}
					}
				}
			}
		}
	}
	t.Logf("%d results", n)
}

func TestCvtIntToFloat(t *testing.T) {
	n := 0
	for _, src := range intTypes {
		in := samples(src)
		for _, dst := range []ptx.Type{ptx.F16, ptx.BF16, ptx.F32, ptx.F64} {
			l, _ := layoutOf(dst)
			for _, r := range modes {
				f, err := Cvt{Dst: dst, Src: src, Rnd: r}.Unary()
				if err != nil {
					t.Fatal(err)
				}
				sat, err := Cvt{Dst: dst, Src: src, Rnd: r, Sat: true}.Unary()
				if err != nil {
					t.Fatal(err)
				}
				for i, x := range in {
					if src.Bits() == 16 && (r != RN || dst != ptx.F16) && i%sparse != 0 {
						continue
					}
					v := signedOf(src, x)
					n++
					if got, want := f(x), l.ofSum(new(big.Rat).SetInt(v), r, false); got != want {
						t.Fatalf("cvt.%v.%v.%v of %v: %#x, want %#x", r, dst, src, v, got, want)
					}
					want := uint64(0)
					if v.Sign() > 0 {
						want = l.one()
					}
					if got := sat(x); got != want {
						t.Fatalf("cvt.%v.sat.%v.%v of %v: %#x", r, dst, src, v, got)
					}
				}
			}
		}
	}
	t.Logf("%d results", n)
}

func TestCvtIntToInt(t *testing.T) {
	n := 0
	for _, src := range intTypes {
		in := samples(src)
		for _, dst := range intTypes {
			wrap, err := Cvt{Dst: dst, Src: src}.Unary()
			if err != nil {
				t.Fatal(err)
			}
			sat, _ := Cvt{Dst: dst, Src: src, Sat: true}.Unary()
			for _, x := range in {
				v := signedOf(src, x)
				low := bits64(v) & (^uint64(0) >> (64 - dst.Bits()))
				n++
				if got, want := wrap(x), bits64(signedOf(dst, low)); got != want {
					t.Fatalf("cvt.%v.%v of %v: %#x, want %#x", dst, src, v, got, want)
				}
				if got, want := sat(x), bits64(clampBig(v, dst)); got != want {
					t.Fatalf("cvt.sat.%v.%v of %v: %#x, want %#x", dst, src, v, got, want)
				}
			}
		}
	}
	t.Logf("%d results", n)
}

// The scalar forms that arithmetic uses, over every input.
func TestHalfConversions(t *testing.T) {
	for h := range uint64(1 << 16) {
		if got, want := uint64(F16ToF32(uint16(h))), (Cvt{Src: ptx.F16, Dst: ptx.F32}).reference(layF16, layF32, h); got != want {
			t.Fatalf("f16 %#x: %#x, want %#x", h, got, want)
		}
		if got, want := uint64(BF16ToF32(uint16(h))), (Cvt{Src: ptx.BF16, Dst: ptx.F32}).reference(layBF16, layF32, h); got != want {
			t.Fatalf("bf16 %#x: %#x, want %#x", h, got, want)
		}
	}
}

func TestPackedOrder(t *testing.T) {
	for _, c := range []struct {
		cvt    Cvt
		hi, lo uint64
		want   uint64
	}{
		{Cvt{Dst: ptx.BF16x2, Src: ptx.F32}, 0x3f800000, 0x40000000, 0x3f804000},
		{Cvt{Dst: ptx.F16x2, Src: ptx.F32}, 0x3f800000, 0xc0000000, 0x3c00c000},
		{Cvt{Dst: ptx.E4M3x2, Src: ptx.F32, SatFinite: true}, 0x3f800000, 0x7f800000, 0x387e},
		{Cvt{Dst: ptx.E5M2x2, Src: ptx.F32, SatFinite: true}, 0xff800000, 0x7fc00000, 0xfb7f},
		{Cvt{Dst: ptx.E4M3x2, Src: ptx.F32, SatFinite: true, Relu: true}, 0xff800000, 0xffc00000, 0x007f},
	} {
		f, err := c.cvt.Pair()
		if err != nil {
			t.Fatal(err)
		}
		if got := f(c.hi, c.lo); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.cvt, got, c.want)
		}
	}
	f, err := Cvt{Dst: ptx.F16x2, Src: ptx.E4M3x2}.Packed()
	if err != nil {
		t.Fatal(err)
	}
	if got := f(0x38c0); got != 0x3c00c000 {
		t.Errorf("f16x2 of e4m3x2: %#x", got)
	}
	for _, c := range []Cvt{{Dst: ptx.Pred, Src: ptx.F32}, {Dst: ptx.F32, Src: ptx.TexRef}} {
		if _, err := c.Unary(); err == nil {
			t.Errorf("%v: no error", fmt.Sprint(c))
		}
	}
}

func TestCvtPack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 20000 {
		a, b, c := r.Uint32()>>r.IntN(32), -(r.Uint32() >> r.IntN(32)), r.Uint32()
		for _, ty := range []ptx.Type{ptx.S16, ptx.U16, ptx.S8, ptx.U8, ptx.S4, ptx.U4} {
			w := uint(ty.Bits())
			el := func(x uint32) uint32 {
				return uint32(bits64(clampBig(big.NewInt(int64(int32(x))), ty))) & (1<<w - 1)
			}
			want := uint64(el(a))<<w | uint64(el(b)) | uint64(c)<<(2*w)
			if got := CvtPack(ty, w, a, b, c); got != uint32(want) {
				t.Fatalf("cvt.pack.%v %#x, %#x, %#x: %#x, want %#x", ty, a, b, c, got, uint32(want))
			}
		}
	}
}
