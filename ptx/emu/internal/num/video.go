package num

import (
	"fmt"
	"math"
)

// Scalar video instructions: PTX ISA 9.7.18.1.

// Part is a selector of a video operand: a byte, a half, or the whole register.
type Part uint8

const (
	Whole Part = iota
	B0
	B1
	B2
	B3
	H0
	H1
)

var partNames = [...]string{"", "b0", "b1", "b2", "b3", "h0", "h1"}

// PartByName gives the selector named, Whole for "".
func PartByName(name string) (Part, bool) {
	for i, n := range partNames {
		if n == name {
			return Part(i), true
		}
	}
	return Whole, false
}

// place gives position and width of the part in bits.
func (p Part) place() (pos, width uint) {
	switch {
	case p == Whole:
		return 0, 32
	case p >= H0:
		return uint(p-H0) * 16, 16
	}
	return uint(p-B0) * 8, 8
}

// read extracts and extends the part.
func (p Part) read(x uint32, signed bool) int64 {
	pos, w := p.place()
	x = x >> pos
	if signed {
		return int64(int32(x<<(32-w)) >> (32 - w))
	}
	return int64(x << (32 - w) >> (32 - w))
}

// VideoOp is the primary operation of a video instruction.
type VideoOp uint8

const (
	VAdd VideoOp = iota
	VSub
	VAbsDiff
	VMin
	VMax
	VShl
	VShr
	VSet
	VAvrg // SIMD only
)

// Op2 is the secondary operation of a scalar video instruction.
type Op2 uint8

const (
	NoOp2 Op2 = iota
	Op2Add
	Op2Min
	Op2Max
	Merge // with a selector on d: c with the part replaced
)

// Video is a scalar video instruction: v<op>.dtype.atype.btype{.sat}{.mode}{.op2} d{.dsel}, a{.asel}, b{.bsel}{, c}.
type Video struct {
	Op               VideoOp
	D, A, B          bool // signed: s32
	Sat              bool
	Wrap             bool // vshl, vshr: .wrap, else .clamp
	Cmp              Cmp  // vset
	Op2              Op2
	DSel, ASel, BSel Part
}

// Do executes the instruction. Without Op2, c is not read.
func (v Video) Do(a, b, c uint32) uint32 {
	ta, tb := v.ASel.read(a, v.A), v.BSel.read(b, v.B)
	var t int64
	switch v.Op {
	case VAdd:
		t = ta + tb
	case VSub:
		t = ta - tb
	case VAbsDiff:
		t = int64(AbsDiffS(ta, tb))
	case VMin:
		t = min(ta, tb)
	case VMax:
		t = max(ta, tb)
	case VShl, VShr:
		n := uint64(uint32(tb))
		if v.Wrap {
			n &= 31
		} else {
			n = min(n, 32)
		}
		if v.Op == VShl {
			t = ta << n
			if v.Sat && t>>n != ta { // 32 bits by 32 pass the top of 64
				t = math.MaxInt64
			}
		} else {
			t = ta >> n
		}
	case VSet:
		if v.Cmp.Holds(order(ta, tb)) {
			t = 1
		}
	}
	signed := v.D && v.Op != VSet
	w := uint(32)
	if v.Op2 == Merge {
		_, w = v.DSel.place()
	}
	if v.Sat {
		t = clampTo(t, w, signed)
	}
	return v.second(uint32(t), c, signed)
}

func (v Video) second(t, c uint32, signed bool) uint32 {
	switch v.Op2 {
	case Op2Add:
		return t + c
	case Op2Min:
		if signed {
			return uint32(min(int32(t), int32(c)))
		}
		return min(t, c)
	case Op2Max:
		if signed {
			return uint32(max(int32(t), int32(c)))
		}
		return max(t, c)
	case Merge:
		pos, w := v.DSel.place()
		m := uint32(1<<w-1) << pos
		return c&^m | t<<pos&m
	}
	return t
}

func clampTo(t int64, w uint, signed bool) int64 {
	if signed {
		return min(max(t, -1<<(w-1)), 1<<(w-1)-1)
	}
	return min(max(t, 0), 1<<w-1)
}

// Vmad is vmad.dtype.atype.btype{.sat}{.scale} d, {-}a{.asel}, {-}b{.bsel}, {-}c (9.7.18.1.5).
type Vmad struct {
	D, A, B          bool // signed
	Sat              bool
	Shift            uint // 0, 7 or 15
	PlusOne          bool // .po
	NegProduct, NegC bool // one of a and b negated; c negated
	ASel, BSel       Part
}

// Do executes the instruction.
func (v Vmad) Do(a, b, c uint32) uint32 {
	// The operands have 33 bits with sign, so their product has 65: kept as a pair.
	ta, tb := v.ASel.read(a, v.A), v.BSel.read(b, v.B)
	signed := v.A || v.B || v.NegProduct || v.NegC
	p := big128(ta, tb)
	lsb := int64(0)
	tc := int64(c)
	if signed {
		tc = int64(int32(c))
	}
	switch {
	case v.PlusOne:
		lsb = 1
	case v.NegProduct:
		p, lsb = p.not(), 1
	case v.NegC:
		c, lsb = ^c, 1
		tc = int64(int32(c))
	}
	p = p.add(tc).add(lsb).shr(v.Shift)
	if v.Sat {
		if signed {
			return uint32(p.clamp(-1<<31, 1<<31-1))
		}
		return uint32(p.clamp(0, 1<<32-1))
	}
	return uint32(p.lo)
}

// SIMD is a SIMD video instruction (9.7.18.2): v<op>{2,4}.dtype.atype.btype{.sat}{.add} d{.mask}, a{.asel}, b{.bsel}, c.
type SIMD struct {
	Op      VideoOp
	Lanes   int  // 2 or 4
	D, A, B bool // signed
	Sat     bool
	Add     bool // .add: the lanes of the mask are summed with c
	Cmp     Cmp
	Mask    uint8    // lanes written; the others are c's
	ASel    [4]uint8 // of lane i: an element of the pair b:a, counted from a's lowest
	BSel    [4]uint8
}

// Select reads a selector of a SIMD operand without its dot: "h32", "b7610".
func (s *SIMD) Select(sel string) (r [4]uint8, err error) {
	top := byte('0' + 2*s.Lanes)
	if len(sel) != s.Lanes+1 || s.Lanes == 2 && sel[0] != 'h' || s.Lanes == 4 && sel[0] != 'b' {
		return r, fmt.Errorf("selector .%s: expected %d elements", sel, s.Lanes)
	}
	for i := range s.Lanes {
		d := sel[s.Lanes-i]
		if d < '0' || d >= top {
			return r, fmt.Errorf("selector .%s: element %q out of range", sel, d)
		}
		r[i] = d - '0'
	}
	return r, nil
}

// ParseMask reads a mask of d without its dot: "h1", "b310", in descending order.
func (s *SIMD) ParseMask(sel string) (m uint8, err error) {
	if len(sel) < 2 || s.Lanes == 2 && sel[0] != 'h' || s.Lanes == 4 && sel[0] != 'b' {
		return 0, fmt.Errorf("mask .%s: expected lanes of %d", sel, s.Lanes)
	}
	for i := 1; i < len(sel); i++ {
		d := sel[i] - '0'
		if int(d) >= s.Lanes || i > 1 && sel[i] >= sel[i-1] {
			return 0, fmt.Errorf("mask .%s: lane %q out of range or order", sel, sel[i])
		}
		m |= 1 << d
	}
	return m, nil
}

// NewSIMD is an instruction with the default mask and selectors.
func NewSIMD(op VideoOp, lanes int) SIMD {
	s := SIMD{Op: op, Lanes: lanes, Mask: 1<<lanes - 1}
	for i := range uint8(lanes) {
		s.ASel[i], s.BSel[i] = i, uint8(lanes)+i
	}
	return s
}

// Do executes the instruction.
func (s SIMD) Do(a, b, c uint32) uint32 {
	w := uint(32 / s.Lanes)
	pair := uint64(b)<<32 | uint64(a)
	field := uint64(1)<<w - 1
	read := func(sel uint8, signed bool) int64 {
		x := pair >> (uint(sel) * w) & field
		if signed {
			return int64(x<<(64-w)) >> (64 - w)
		}
		return int64(x)
	}
	r := c
	for i := range s.Lanes {
		if s.Mask>>i&1 == 0 {
			continue
		}
		ta, tb := read(s.ASel[i], s.A), read(s.BSel[i], s.B)
		var t int64
		switch s.Op {
		case VAdd:
			t = ta + tb
		case VSub:
			t = ta - tb
		case VAbsDiff:
			t = max(ta-tb, tb-ta)
		case VMin:
			t = min(ta, tb)
		case VMax:
			t = max(ta, tb)
		case VAvrg:
			// Halves round away from zero.
			t = ta + tb
			if t >= 0 {
				t++
			}
			t >>= 1
		case VSet:
			if s.Cmp.Holds(order(ta, tb)) {
				t = 1
			}
		}
		signed := s.D && s.Op != VSet
		if s.Sat {
			t = clampTo(t, w, signed)
		}
		if s.Add {
			// The lane's value enters the sum as dtype says.
			x := uint64(t) << (64 - w)
			if signed {
				r += uint32(int64(x) >> (64 - w))
			} else {
				r += uint32(x >> (64 - w))
			}
			continue
		}
		pos := uint(i) * w
		m := uint32(field) << pos
		r = r&^m | uint32(t)<<pos&m
	}
	return r
}
