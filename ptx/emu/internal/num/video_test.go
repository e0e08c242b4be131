package num

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// Scalar and SIMD video instructions against big integers, after the pseudocode of
// 9.7.18.

func bigPart(x uint32, pos, w uint, signed bool) *big.Int {
	v := int64(x) >> pos & (1<<w - 1)
	if signed && v>>(w-1) != 0 {
		v -= 1 << w
	}
	return big.NewInt(v)
}

func bigClamp(x *big.Int, w uint, signed bool) *big.Int {
	lo, hi := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), w)
	if signed {
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	hi.Sub(hi, big.NewInt(1))
	switch {
	case x.Cmp(lo) < 0:
		return lo
	case x.Cmp(hi) > 0:
		return hi
	}
	return x
}

func holdsBig(c Cmp, a, b *big.Int) bool {
	d := a.Cmp(b)
	switch c {
	case EQ:
		return d == 0
	case NE:
		return d != 0
	case LT:
		return d < 0
	case LE:
		return d <= 0
	case GT:
		return d > 0
	}
	return d >= 0
}

// primary is the exact result of an operation on two elements.
func primary(op VideoOp, c Cmp, a, b *big.Int, wrap bool) *big.Int {
	r := new(big.Int)
	switch op {
	case VAdd:
		r.Add(a, b)
	case VSub:
		r.Sub(a, b)
	case VAbsDiff:
		r.Abs(r.Sub(a, b))
	case VMin:
		if r = a; b.Cmp(a) < 0 {
			r = b
		}
	case VMax:
		if r = a; b.Cmp(a) > 0 {
			r = b
		}
	case VShl, VShr:
		n := uint(b.Uint64())
		if wrap {
			n &= 31
		} else {
			n = min(n, 32)
		}
		if op == VShl {
			r.Lsh(a, n)
		} else {
			r.Rsh(a, n)
		}
	case VSet:
		if holdsBig(c, a, b) {
			r.SetInt64(1)
		}
	case VAvrg:
		s := new(big.Int).Add(a, b)
		r.Quo(r.Add(s, big.NewInt(int64(map[bool]int{true: 1, false: -1}[s.Sign() >= 0]))), big.NewInt(2))
	}
	return r
}

func TestVideo(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 1))
	parts := map[Part][2]uint{Whole: {0, 32}, B0: {0, 8}, B1: {8, 8}, B2: {16, 8}, B3: {24, 8}, H0: {0, 16}, H1: {16, 16}}
	for range 100000 {
		v := Video{Op: VideoOp(r.IntN(int(VSet) + 1)), D: r.IntN(2) == 0, A: r.IntN(2) == 0, B: r.IntN(2) == 0, Sat: r.IntN(2) == 0, Wrap: r.IntN(2) == 0,
			Cmp: Cmp(r.IntN(6)), Op2: Op2(r.IntN(5)), DSel: Part(r.IntN(6) + 1), ASel: Part(r.IntN(7)), BSel: Part(r.IntN(7))}
		if v.Op == VShl || v.Op == VShr {
			v.B = false
		}
		if v.Op == VSet {
			v.Sat = false
		}
		a, b, c := words(r), words(r), words(r)
		pa, pb := parts[v.ASel], parts[v.BSel]
		x := primary(v.Op, v.Cmp, bigPart(a, pa[0], pa[1], v.A), bigPart(b, pb[0], pb[1], v.B), v.Wrap)
		signed := v.D && v.Op != VSet
		pd := [2]uint{0, 32}
		if v.Op2 == Merge {
			pd = parts[v.DSel]
		}
		if v.Sat {
			x = bigClamp(x, pd[1], signed)
		}
		w := uint32(bits64(x))
		want := w
		bw, bc := bigPart(w, 0, 32, signed), bigPart(c, 0, 32, signed)
		switch v.Op2 {
		case Op2Add:
			want = w + c
		case Op2Min:
			if bc.Cmp(bw) < 0 {
				want = c
			}
		case Op2Max:
			if bc.Cmp(bw) > 0 {
				want = c
			}
		case Merge:
			for i := range pd[1] {
				c = c&^(1<<(pd[0]+i)) | w>>i&1<<(pd[0]+i)
			}
			want = c
		}
		if got := v.Do(a, b, c); got != want {
			t.Fatalf("%+v of %#x, %#x, %#x: %#x, want %#x", v, a, b, c, got, want)
		}
	}
	for p, n := range partNames {
		if got, ok := PartByName(n); !ok || got != Part(p) {
			t.Errorf("part %q", n)
		}
	}
}

func TestVmad(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 2))
	parts := map[Part][2]uint{Whole: {0, 32}, B0: {0, 8}, B1: {8, 8}, B2: {16, 8}, B3: {24, 8}, H0: {0, 16}, H1: {16, 16}}
	for range 80000 {
		v := Vmad{A: r.IntN(2) == 0, B: r.IntN(2) == 0, Sat: r.IntN(2) == 0, Shift: []uint{0, 7, 15}[r.IntN(3)], ASel: Part(r.IntN(7)), BSel: Part(r.IntN(7))}
		switch r.IntN(4) {
		case 0:
			v.PlusOne = true
		case 1:
			v.NegProduct = true
		case 2:
			v.NegC = true
		}
		a, b, c := words(r), words(r), words(r)
		pa, pb := parts[v.ASel], parts[v.BSel]
		p := new(big.Int).Mul(bigPart(a, pa[0], pa[1], v.A), bigPart(b, pb[0], pb[1], v.B))
		signed := v.A || v.B || v.NegProduct || v.NegC
		if v.NegProduct {
			p.Neg(p)
		}
		bc := bigPart(c, 0, 32, signed)
		if v.NegC {
			// -c is ~c + 1, with ~c taken in 32 bits.
			bc.Add(bigPart(^c, 0, 32, true), big.NewInt(1))
		}
		p.Add(p, bc)
		if v.PlusOne {
			p.Add(p, big.NewInt(1))
		}
		p.Rsh(p, v.Shift)
		if v.Sat {
			p = bigClamp(p, 32, signed)
		}
		if got, want := v.Do(a, b, c), uint32(bits64(p)); got != want {
			t.Fatalf("%+v of %#x, %#x, %#x: %#x, want %#x", v, a, b, c, got, want)
		}
	}
}

func TestSIMD(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 3))
	ops := []VideoOp{VAdd, VSub, VAbsDiff, VMin, VMax, VSet, VAvrg}
	for range 80000 {
		lanes := 2 + 2*r.IntN(2)
		w := uint(32 / lanes)
		s := NewSIMD(ops[r.IntN(len(ops))], lanes)
		s.D, s.A, s.B, s.Sat, s.Add, s.Cmp = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, Cmp(r.IntN(6))
		if s.Op == VSet {
			s.Sat = false
		}
		if r.IntN(2) == 0 {
			s.Mask = uint8(r.IntN(1 << lanes))
			for i := range lanes {
				s.ASel[i], s.BSel[i] = uint8(r.IntN(2*lanes)), uint8(r.IntN(2*lanes))
			}
		}
		a, b, c := words(r), words(r), words(r)
		elem := func(sel uint8, signed bool) *big.Int {
			if int(sel) < lanes {
				return bigPart(a, uint(sel)*w, w, signed)
			}
			return bigPart(b, (uint(sel)-uint(lanes))*w, w, signed)
		}
		signed := s.D && s.Op != VSet
		want := c
		for i := range lanes {
			if s.Mask>>i&1 == 0 {
				continue
			}
			x := primary(s.Op, s.Cmp, elem(s.ASel[i], s.A), elem(s.BSel[i], s.B), false)
			if s.Sat {
				x = bigClamp(x, w, signed)
			}
			v := uint32(bits64(x)) & (1<<w - 1)
			if s.Add {
				want += uint32(bits64(bigPart(v, 0, w, signed)))
			} else {
				want = want&^((1<<w-1)<<(uint(i)*w)) | v<<(uint(i)*w)
			}
		}
		if got := s.Do(a, b, c); got != want {
			t.Fatalf("%+v of %#x, %#x, %#x: %#x, want %#x", s, a, b, c, got, want)
		}
	}
	two, four := NewSIMD(VAdd, 2), NewSIMD(VAdd, 4)
	if sel, err := four.Select("b7610"); err != nil || sel != [4]uint8{0, 1, 6, 7} {
		t.Error(sel, err)
	}
	if sel, err := two.Select("h32"); err != nil || sel != [4]uint8{2, 3} {
		t.Error(sel, err)
	}
	if m, err := four.ParseMask("b310"); err != nil || m != 0b1011 {
		t.Error(m, err)
	}
	for _, bad := range []string{"", "h3", "b32", "h45", "h1x"} {
		if _, err := two.Select(bad); err == nil {
			t.Errorf("selector %q", bad)
		}
	}
	for _, bad := range []string{"", "b", "b4", "b01", "h1"} {
		if _, err := four.ParseMask(bad); err == nil {
			t.Errorf("mask %q", bad)
		}
	}
}
