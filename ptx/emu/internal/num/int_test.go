package num

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// words draws n random words in which edges are common.
func words(r *rand.Rand) uint32 {
	edges := []uint32{0, 1, 2, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0x7fff, 0x8000, 0xffff, 0x10000, 31, 32, 33, 0x7f, 0x80, 0xff}
	switch r.IntN(4) {
	case 0:
		return edges[r.IntN(len(edges))]
	case 1:
		return r.Uint32() >> r.IntN(32)
	}
	return r.Uint32()
}

func words64(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return uint64(int64(int32(words(r))))
	case 1:
		return 1<<63 + uint64(r.IntN(3)) - 1
	}
	return r.Uint64() >> r.IntN(64)
}

func TestMultiply(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	s32 := func(x uint32) *big.Int { return big.NewInt(int64(int32(x))) }
	u32 := func(x uint32) *big.Int { return big.NewInt(int64(x)) }
	s64 := func(x uint64) *big.Int { return big.NewInt(int64(x)) }
	u64 := func(x uint64) *big.Int { return new(big.Int).SetUint64(x) }
	mul := func(a, b *big.Int, shift uint) uint64 {
		p := new(big.Int).Mul(a, b)
		return bits64(p.Rsh(p, shift))
	}
	field := func(x uint32, signed bool) *big.Int {
		x &= 0xffffff
		if signed && x>>23 != 0 {
			return big.NewInt(int64(x) - 1<<24)
		}
		return big.NewInt(int64(x))
	}
	satS := func(x *big.Int) uint32 { return uint32(bits64(clampBig(x, ptx.S32))) }
	for range 40000 {
		a, b, c := words(r), words(r), words(r)
		x, y := words64(r), words64(r)
		check := func(name string, got, want uint64) {
			if got != want {
				t.Fatalf("%s of %#x, %#x, %#x / %#x, %#x: %#x, want %#x", name, a, b, c, x, y, got, want)
			}
		}
		w := func(v uint64) uint64 { return uint64(uint32(v)) }
		check("mul.hi.s32", uint64(MulHiS32(a, b)), w(mul(s32(a), s32(b), 32)))
		check("mul.hi.u32", uint64(MulHiU32(a, b)), w(mul(u32(a), u32(b), 32)))
		check("mul.hi.s64", MulHiS64(x, y), mul(s64(x), s64(y), 64))
		check("mul.hi.u64", MulHiU64(x, y), mul(u64(x), u64(y), 64))
		check("mul.hi.s16", uint64(MulHiS16(uint16(a), uint16(b))), mul(s32(uint32(int32(int16(a)))), s32(uint32(int32(int16(b)))), 16)&0xffff)
		check("mul.hi.u16", uint64(MulHiU16(uint16(a), uint16(b))), mul(u32(a&0xffff), u32(b&0xffff), 16)&0xffff)
		check("mul24.lo.u", uint64(Mul24LoU(a, b)), w(mul(field(a, false), field(b, false), 0)))
		check("mul24.lo.s", uint64(Mul24LoS(a, b)), w(mul(field(a, true), field(b, true), 0)))
		check("mul24.hi.u", uint64(Mul24HiU(a, b)), w(mul(field(a, false), field(b, false), 16)))
		check("mul24.hi.s", uint64(Mul24HiS(a, b)), w(mul(field(a, true), field(b, true), 16)))
		check("add.sat", uint64(AddSatS32(a, b)), uint64(satS(new(big.Int).Add(s32(a), s32(b)))))
		check("sub.sat", uint64(SubSatS32(a, b)), uint64(satS(new(big.Int).Sub(s32(a), s32(b)))))
		hi := new(big.Int).Rsh(new(big.Int).Mul(s32(a), s32(b)), 32)
		check("mad.hi.sat", uint64(MadHiSatS32(a, b, c)), uint64(satS(hi.Add(hi, s32(c)))))
		hi24 := s32(uint32(mul(field(a, true), field(b, true), 16)))
		check("mad24.hi.sat", uint64(Mad24HiSatS32(a, b, c)), uint64(satS(hi24.Add(hi24, s32(c)))))
		d := new(big.Int).Sub(s32(a), s32(b))
		check("sad.s32", uint64(SadS32(a, b, c)), w(bits64(d.Abs(d).Add(d, u32(c)))))
		d.Sub(u32(a), u32(b))
		check("sad.u32", uint64(SadU32(a, b, c)), w(bits64(d.Abs(d).Add(d, u32(c)))))
		d.Sub(u64(x), u64(y))
		check("absdiff.u64", AbsDiffU(x, y), bits64(d.Abs(d)))
		d.Sub(s64(x), s64(y))
		check("absdiff.s64", AbsDiffS(int64(x), int64(y)), bits64(d.Abs(d)))
		if y != 0 {
			check("div.u64", DivU64(x, y), bits64(new(big.Int).Quo(u64(x), u64(y))))
			check("rem.u64", RemU64(x, y), bits64(new(big.Int).Rem(u64(x), u64(y))))
			check("div.s64", DivS64(x, y), bits64(new(big.Int).Quo(s64(x), s64(y))))
			check("rem.s64", RemS64(x, y), bits64(new(big.Int).Rem(s64(x), s64(y))))
		}
		if b != 0 {
			check("div.u32", uint64(DivU32(a, b)), w(bits64(new(big.Int).Quo(u32(a), u32(b)))))
			check("rem.u32", uint64(RemU32(a, b)), w(bits64(new(big.Int).Rem(u32(a), u32(b)))))
			check("div.s32", uint64(DivS32(a, b)), w(bits64(new(big.Int).Quo(s32(a), s32(b)))))
			check("rem.s32", uint64(RemS32(a, b)), w(bits64(new(big.Int).Rem(s32(a), s32(b)))))
		}
		check("add.u16x2", uint64(AddX2(a, b)), uint64((a+b)&0xffff|(a>>16+b>>16)<<16))
	}
	for _, z := range []uint64{DivU64(5, 0), DivS64(5, 0), RemU64(5, 0), RemS64(5, 0), uint64(DivU32(5, 0))<<32 | uint64(RemU32(5, 0)), uint64(DivS32(5, 0))<<32 | uint64(RemS32(5, 0))} {
		if z != ^uint64(0) {
			t.Errorf("division by zero: %#x", z)
		}
	}
}

func TestDotProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 2))
	for range 20000 {
		a, b, c := words(r), words(r), words(r)
		for m := range 8 {
			sa, sb, hi := m&1 != 0, m&2 != 0, m&4 != 0
			el := func(x uint32, pos, w uint, signed bool) int64 {
				v := int64(x >> pos & (1<<w - 1))
				if signed && v >= 1<<(w-1) {
					v -= 1 << w
				}
				return v
			}
			s4, s2 := int64(c), int64(c)
			for i := range uint(4) {
				s4 += el(a, 8*i, 8, sa) * el(b, 8*i, 8, sb)
			}
			for i := range uint(2) {
				j := i
				if hi {
					j += 2
				}
				s2 += el(a, 16*i, 16, sa) * el(b, 8*j, 8, sb)
			}
			if got := Dp4a(a, b, c, sa, sb); got != uint32(s4) {
				t.Fatalf("dp4a %#x %#x %#x %v %v: %#x, want %#x", a, b, c, sa, sb, got, uint32(s4))
			}
			if got := Dp2a(a, b, c, sa, sb, hi); got != uint32(s2) {
				t.Fatalf("dp2a %#x %#x %#x %v %v %v: %#x, want %#x", a, b, c, sa, sb, hi, got, uint32(s2))
			}
		}
	}
}

// The references below follow the pseudocode of the PTX ISA, bit by bit.
func TestBitFields(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 3))
	for range 15000 {
		x, y := words64(r), words64(r)
		p, l := words(r), words(r)
		if r.IntN(2) == 0 {
			p, l = uint32(r.IntN(70)), uint32(r.IntN(70))
		}
		for _, msb := range []int{31, 63} {
			for _, signed := range []bool{false, true} {
				pos, length := int(p&255), int(l&255)
				sbit := uint64(0)
				if signed && length != 0 {
					sbit = x >> min(pos+length-1, msb) & 1
				}
				var want uint64
				for i := range msb + 1 {
					bit := sbit
					if i < length && pos+i <= msb {
						bit = x >> (pos + i) & 1
					}
					want |= bit << i
				}
				var got uint64
				switch {
				case msb == 31 && signed:
					got = uint64(BfeS32(uint32(x), p, l))
				case msb == 31:
					got = uint64(BfeU32(uint32(x), p, l))
				case signed:
					got = BfeS64(x, p, l)
				default:
					got = BfeU64(x, p, l)
				}
				if got != want {
					t.Fatalf("bfe %d bits signed %v of %#x, %d, %d: %#x, want %#x", msb+1, signed, x, pos, length, got, want)
				}
			}
			want := y & (1<<(msb+1) - 1)
			if msb == 63 {
				want = y
			}
			for i := 0; i < int(l&255) && int(p&255)+i <= msb; i++ {
				at := int(p&255) + i
				want = want&^(1<<at) | x>>i&1<<at
			}
			got := uint64(Bfi32(uint32(x), uint32(y), p, l))
			if msb == 63 {
				got = Bfi64(x, y, p, l)
			}
			if got != want {
				t.Fatalf("bfi %d bits of %#x, %#x, %d, %d: %#x, want %#x", msb+1, x, y, p&255, l&255, got, want)
			}
		}
		for _, wrap := range []bool{false, true} {
			// bmsk
			mask0, mask1 := uint64(math.MaxUint32)<<(p&31)&math.MaxUint32, uint64(0)
			if sum := p&31 + l&31; sum < 32 && (wrap || l < 32) {
				mask1 = uint64(math.MaxUint32) << sum & math.MaxUint32
			}
			if !wrap && p >= 32 {
				mask0 = 0
			}
			if got := Bmsk(p, l, wrap); uint64(got) != mask0&^mask1 {
				t.Fatalf("bmsk %d, %d wrap %v: %#x, want %#x", p, l, wrap, got, mask0&^mask1)
			}
			for _, signed := range []bool{false, true} {
				n := l
				if wrap {
					n &= 31
				}
				want := uint32(0)
				for i := range uint32(32) {
					switch {
					case n == 0:
					case i < n:
						want |= uint32(x) >> i & 1 << i
					case signed:
						want |= uint32(x) >> (n - 1) & 1 << i
					}
				}
				if got := Szext(uint32(x), l, signed, wrap); got != want {
					t.Fatalf("szext %#x, %d signed %v wrap %v: %#x, want %#x", uint32(x), l, signed, wrap, got, want)
				}
			}
			n := min(l, 32)
			if wrap {
				n = l & 31
			}
			pair := x
			if got, want := ShfL(uint32(pair), uint32(pair>>32), l, wrap), uint32(pair<<n>>32); got != want {
				t.Fatalf("shf.l %#x by %d wrap %v: %#x, want %#x", pair, l, wrap, got, want)
			}
			if got, want := ShfR(uint32(pair), uint32(pair>>32), l, wrap), uint32(pair>>n); got != want {
				t.Fatalf("shf.r %#x by %d wrap %v: %#x, want %#x", pair, l, wrap, got, want)
			}
		}
		for _, signed := range []bool{false, true} {
			for _, amt := range []bool{false, true} {
				for _, w := range []int{32, 64} {
					v := x & (^uint64(0) >> (64 - w))
					if signed && v>>(w-1) != 0 {
						v = ^v & (^uint64(0) >> (64 - w))
					}
					want := uint32(math.MaxUint32)
					for i := w - 1; i >= 0; i-- {
						if v>>i&1 != 0 {
							want = uint32(i)
							if amt {
								want = uint32(w - 1 - i)
							}
							break
						}
					}
					got := Bfind64(x, signed, amt)
					if w == 32 {
						got = Bfind32(uint32(x), signed, amt)
					}
					if got != want {
						t.Fatalf("bfind %d bits of %#x signed %v shiftamt %v: %#x, want %#x", w, x, signed, amt, got, want)
					}
				}
			}
		}
		// shl, shr
		n := min(l, 64)
		if Shl32(uint32(x), l) != uint32(new(big.Int).Lsh(new(big.Int).SetUint64(x), uint(n)).Uint64()) && n < 32 || n >= 32 && Shl32(uint32(x), l) != 0 {
			t.Fatalf("shl %#x by %d", x, l)
		}
		if got, want := int32(ShrS32(uint32(x), l)), big.NewInt(int64(int32(x))); int64(got) != want.Rsh(want, uint(n)).Int64() {
			t.Fatalf("shr.s32 %#x by %d: %#x", x, l, got)
		}
		if got, want := int64(ShrS64(x, l)), big.NewInt(int64(x)); got != want.Rsh(want, uint(n)).Int64() {
			t.Fatalf("shr.s64 %#x by %d: %#x", x, l, got)
		}
		if ShrU32(uint32(x), l) != uint32(uint64(uint32(x))>>n) || ShrU64(x, l) != x>>n || Shl64(x, l) != x<<n {
			t.Fatalf("shifts of %#x by %d", x, l)
		}
	}
}

func TestFns(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 4))
	for range 20000 {
		mask, base, n := words(r), uint32(r.IntN(32)), uint32(r.IntN(80)-40)
		want := uint32(math.MaxUint32)
		if n == 0 {
			if mask>>base&1 == 1 {
				want = base
			}
		} else {
			pos, count, inc := int(base), int(max(int32(n), -int32(n)))-1, 1
			if int32(n) < 0 {
				inc = -1
			}
			for pos >= 0 && pos < 32 {
				if mask>>pos&1 == 1 {
					if count == 0 {
						want = uint32(pos)
						break
					}
					count--
				}
				pos += inc
			}
		}
		if got := Fns(mask, base, n); got != want {
			t.Fatalf("fns %#x, %d, %d: %#x, want %#x", mask, base, int32(n), got, want)
		}
	}
}

func TestLop3(t *testing.T) {
	for lut := range 256 {
		if got := Lop3(0xf0, 0xcc, 0xaa, uint8(lut)); got&0xff != uint32(lut) {
			t.Fatalf("lop3 with table %#x gives %#x", lut, got&0xff)
		}
		// Bits beyond are those of three zeros.
		if got, want := Lop3(0xf0, 0xcc, 0xaa, uint8(lut))>>8, uint32(lut&1)*0xffffff; got != want {
			t.Fatalf("lop3 with table %#x: upper bits %#x", lut, got)
		}
	}
}

func TestPrmt(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 5))
	for range 20000 {
		a, b, c := words(r), words(r), r.Uint32()
		var src [8]uint32
		for i := range 4 {
			src[i], src[4+i] = a>>(8*i)&255, b>>(8*i)&255
		}
		pick := func(sel uint32) uint32 {
			v := src[sel&7]
			if sel&8 != 0 {
				return v >> 7 * 255
			}
			return v
		}
		var want uint32
		for i := range 4 {
			want |= pick(c>>(4*i)&15) << (8 * i)
		}
		if got := PrmtOf(a, b, c, PrmtIndex); got != want {
			t.Fatalf("prmt %#x, %#x, %#x: %#x, want %#x", a, b, c, got, want)
		}
		n := int(c & 3)
		for m := PrmtF4E; m <= PrmtRC16; m++ {
			want = 0
			for i := range 4 {
				k := 0
				switch m {
				case PrmtF4E:
					k = n + i
				case PrmtB4E:
					k = (8 + n - i) % 8
				case PrmtRC8:
					k = n
				case PrmtECL:
					k = max(n, i)
				case PrmtECR:
					k = min(n, i)
				case PrmtRC16:
					k = n&1*2 + i&1
				}
				want |= src[k] << (8 * i)
			}
			if got := PrmtOf(a, b, c, m); got != want {
				t.Fatalf("prmt mode %d of %#x, %#x, %d: %#x, want %#x", m, a, b, n, got, want)
			}
		}
	}
	for i, n := range prmtNames[1:] {
		if m, ok := PrmtModeByName(n); !ok || m != PrmtMode(i+1) {
			t.Errorf("mode %s", n)
		}
	}
}

func TestCarry(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 6))
	for range 10000 {
		var a, b [4]uint32
		for i := range a {
			a[i], b[i] = words(r), words(r)
		}
		num := func(x [4]uint32) *big.Int {
			v := new(big.Int)
			for i := 3; i >= 0; i-- {
				v.Lsh(v, 32).Or(v, big.NewInt(int64(x[i])))
			}
			return v
		}
		var s, d [4]uint32
		var c, w uint32
		for i := range a {
			s[i], c = AddCC32(a[i], b[i], c)
			d[i], w = SubCC32(a[i], b[i], w)
		}
		sum := new(big.Int).Add(num(a), num(b))
		if sum.Cmp(new(big.Int).Or(num(s), new(big.Int).Lsh(big.NewInt(int64(c)), 128))) != 0 {
			t.Fatalf("%x + %x: %x carry %d", a, b, s, c)
		}
		diff := new(big.Int).Sub(num(a), num(b))
		if diff.Cmp(new(big.Int).Sub(num(d), new(big.Int).Lsh(big.NewInt(int64(w)), 128))) != 0 {
			t.Fatalf("%x - %x: %x borrow %d", a, b, d, w)
		}
	}
	if s, c := AddCC64(1<<63, 1<<63, 1); s != 1 || c != 1 {
		t.Error("add.cc.u64")
	}
	if s, c := SubCC64(0, 0, 1); s != math.MaxUint64 || c != 1 {
		t.Error("sub.cc.u64")
	}
}
