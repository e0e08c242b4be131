package mma

import (
	"math"
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

// format is a floating-point format of operands.
type format struct {
	bits   uint
	man    uint // fraction bits, after drop
	drop   uint // low bits ignored: tf32 is read from f32
	exp    uint // exponent bits
	finite bool // no infinities: all ones alone is NaN, as in e4m3
}

var formats = map[ptx.Type]format{
	ptx.F16:  {bits: 16, man: 10, exp: 5},
	ptx.BF16: {bits: 16, man: 7, exp: 8},
	ptx.TF32: {bits: 32, man: 10, drop: 13, exp: 8},
	ptx.E4M3: {bits: 8, man: 3, exp: 4, finite: true},
	ptx.E5M2: {bits: 8, man: 2, exp: 5},
}

// tiny is the exponent of zeros: below every other, twice over.
const tiny = -1 << 12

// number is an element taken apart: sig·2^(exp-man), sig signed and of at most 11 bits
// beside the sign. Subnormals keep the smallest normal exponent.
type number struct{ sig, exp int32 }

// decode takes an element apart; special if infinite or NaN.
func (f format) decode(x uint32) (n number, special bool) {
	x >>= f.drop
	m := int32(x & (1<<f.man - 1))
	e := int32(x >> f.man & (1<<f.exp - 1))
	top := int32(1<<f.exp - 1)
	special = e == top && (!f.finite || m == 1<<f.man-1)
	if e != 0 {
		m |= 1 << f.man
	} else {
		e = 1
	}
	n.exp = e - top>>1
	if m == 0 {
		n.exp = tiny
	}
	n.sig = m
	if x>>(f.man+f.exp)&1 != 0 {
		n.sig = -m
	}
	return n, special
}

// float gives the element's value.
func (f format) float(x uint32) float64 {
	n, special := f.decode(x)
	switch {
	case !special && n.sig == 0:
		return 0
	case !special:
		return math.Ldexp(float64(n.sig), int(n.exp)-int(f.man))
	case f.finite || x>>f.drop&(1<<f.man-1) != 0:
		return math.NaN()
	}
	return math.Inf(1 - 2*int(x>>(f.bits-1)&1))
}

// f32ToInt takes an f32 accumulator apart, with 23 fraction bits.
func f32ToInt(c uint32) (sig int64, exp int32, special bool) {
	m := int64(c & (1<<23 - 1))
	e := int32(c >> 23 & 255)
	special = e == 255
	if e != 0 {
		m |= 1 << 23
	} else {
		e = 1
	}
	if c>>31 != 0 {
		m = -m
	}
	return m, e - 127, special
}

// f16ToInt is f32ToInt for f16. A zero has the exponent that f32's zero has.
func f16ToInt(c uint32) (sig int64, exp int32, special bool) {
	n, special := formats[ptx.F16].decode(c & 0xffff)
	if n.sig == 0 {
		n.exp = -126
	}
	return int64(n.sig) << 13, n.exp, special
}

// toF32 cuts sum·2^exp to f32, toward zero; what is too large becomes infinite.
func toF32(sum int64, exp int, clear uint32) uint32 {
	if sum == 0 {
		return 0
	}
	var sign uint32
	m := uint64(sum)
	if sum < 0 {
		sign, m = 1<<31, -m
	}
	n := bits.Len64(m)
	e := n - 1 + exp
	if e > 127 {
		return sign | 0x7f800000
	}
	q := max(e, -126) - 23 // the unit of the last place
	if s := q - exp; s >= 0 {
		m >>= min(s, 63)
	} else {
		m <<= -s
	}
	b := uint32(m)
	if e >= -126 {
		b = uint32(e+127)<<23 + b - 1<<23
	}
	return sign | b&^clear
}

// toF16 rounds sum·2^exp to f16 to nearest.
func toF16(sum int64, exp int) uint32 {
	return uint32(num.RoundF16(math.Ldexp(float64(sum), exp)))
}
