package mma

import (
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
)

// Integer products (9.7.14.5.4 to 9.7.14.5.10). Elements are widened to 16 bits and kept in
// pairs along k: [k/2][row] of A, [n][k/2] of B.

const maxPairs = 32 // of s4 with k = 64

type intOperands struct {
	a [maxPairs][16]uint32
	b [8][maxPairs]uint32
	p [8][16]uint32
}

func (in *Inst) int8(d, a, b, c []*Reg) {
	var o intOperands
	as, bs := in.A == ptx.S8, in.B == ptx.S8
	for r, reg := range a {
		k, row := (r>>1)*8, 8*(r&1)
		for lane, x := range reg {
			p, g := k+lane&3*2, row+lane>>2
			o.a[p][g], o.a[p+1][g] = pair8(x, as), pair8(x>>16, as)
		}
	}
	for r, reg := range b {
		for lane, x := range reg {
			p, n := r*8+lane&3*2, lane>>2
			o.b[n][p], o.b[n][p+1] = pair8(x, bs), pair8(x>>16, bs)
		}
	}
	in.integers(&o, d, c)
}

// pair8 widens the two low bytes.
func pair8(x uint32, signed bool) uint32 {
	if signed {
		return uint32(uint16(int16(int8(x)))) | uint32(int32(int8(x>>8)))<<16
	}
	return x&0xff | x&0xff00<<8
}

func (in *Inst) int4(d, a, b, c []*Reg) {
	var o intOperands
	as, bs := in.A == ptx.S4, in.B == ptx.S4
	for r, reg := range a {
		k, row := (r>>1)*16, 8*(r&1)
		for lane, x := range reg {
			for j := range 4 {
				o.a[k+lane&3*4+j][row+lane>>2] = pair4(x>>(8*j), as)
			}
		}
	}
	for r, reg := range b {
		for lane, x := range reg {
			for j := range 4 {
				o.b[lane>>2][r*16+lane&3*4+j] = pair4(x>>(8*j), bs)
			}
		}
	}
	in.integers(&o, d, c)
}

// pair4 widens the two low nibbles.
func pair4(x uint32, signed bool) uint32 {
	if signed {
		return uint32(uint16(int16(int8(x<<4))>>4)) | uint32(int32(int8(x))>>4)<<16
	}
	return x&0xf | x&0xf0<<12
}

func (in *Inst) integers(o *intOperands, d, c []*Reg) {
	intProducts(o.p[:], &o.a, o.b[:], in.K/2)
	in.accumulate(o, d, c)
}

// intProductsGeneric computes the sums of products, which fit in 32 bits.
func intProductsGeneric(p [][16]uint32, a *[maxPairs][16]uint32, b [][maxPairs]uint32, pairs int) {
	for n := range p {
		p[n] = [16]uint32{}
		for k, y := range b[n][:pairs] {
			y0, y1 := int32(int16(y)), int32(y)>>16
			for r, x := range &a[k] {
				p[n][r] += uint32(int32(int16(x))*y0 + int32(x)>>16*y1)
			}
		}
	}
}

// accumulate adds the products to c, in the layout of m8n8 or m16n8. All of c is read
// before d is written: they may share registers in any order.
func (in *Inst) accumulate(o *intOperands, d, c []*Reg) {
	for r, reg := range c {
		for lane, x := range reg {
			p := &o.p[lane&3*2+r&1][8*(r>>1)+lane>>2]
			s := int64(int32(x)) + int64(int32(*p))
			if in.Sat {
				s = min(max(s, -1<<31), 1<<31-1)
			}
			*p = uint32(s)
		}
	}
	writeD(d, &o.p, false)
}

// binary is b1 with popc of xor or and.
func (in *Inst) binary(d, a, b, c []*Reg) {
	var o intOperands
	for r, reg := range a {
		for lane, x := range reg {
			o.a[r>>1*4+lane&3][8*(r&1)+lane>>2] = x
		}
	}
	for r, reg := range b {
		for lane, x := range reg {
			o.b[lane>>2][r*4+lane&3] = x
		}
	}
	for n := range o.p {
		for k, y := range o.b[n][:in.K/32] {
			for r, x := range &o.a[k] {
				if in.And {
					x &= y
				} else {
					x ^= y
				}
				o.p[n][r] += uint32(bits.OnesCount32(x))
			}
		}
	}
	in.accumulate(&o, d, c)
}
