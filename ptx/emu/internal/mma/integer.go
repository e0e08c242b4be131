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
	readPairs8(&o.a, a, in.A == ptx.S8, in.M/8, 0)
	readColumns8(o.b[:], b, in.B == ptx.S8, in.K)
	intProducts(o.p[:], &o.a, o.b[:], in.K/2)
	accumulate(o.p[:], c, in.Sat, in.M/8, 0)
	writeD(d, o.p[:], false, in.M/8, 0)
}

func readPairs8(o *[maxPairs][16]uint32, a []*Reg, signed bool, tiles, first int) {
	for r, reg := range a {
		row := 8 * (r%tiles - first)
		if row < 0 || row > 8 {
			continue
		}
		for lane, x := range reg {
			p, g := r/tiles*8+lane&3*2, row+lane>>2
			o[p][g], o[p+1][g] = pair8(x, signed), pair8(x>>16, signed)
		}
	}
}

func readColumns8(o [][maxPairs]uint32, b []*Reg, signed bool, k int) {
	tiles := k / 16
	for r, reg := range b {
		for lane, x := range reg {
			p, n := r%tiles*8+lane&3*2, r/tiles*8+lane>>2
			o[n][p], o[n][p+1] = pair8(x, signed), pair8(x>>16, signed)
		}
	}
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
	tiles := in.M / 8
	for r, reg := range a {
		k, row := r/tiles*16, 8*(r%tiles)
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
	intProducts(o.p[:], &o.a, o.b[:], in.K/2)
	accumulate(o.p[:], c, in.Sat, tiles, 0)
	writeD(d, o.p[:], false, tiles, 0)
}

// pair4 widens the two low nibbles.
func pair4(x uint32, signed bool) uint32 {
	if signed {
		return uint32(uint16(int16(int8(x<<4))>>4)) | uint32(int32(int8(x))>>4)<<16
	}
	return x&0xf | x&0xf0<<12
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

// accumulate adds c to the products. All of c is read before d is written: they may
// share registers in any order.
func accumulate(p [][16]uint32, c []*Reg, sat bool, tiles, first int) {
	for r, reg := range c {
		q := r >> 1
		row, n0 := 8*(q%tiles-first), 8*(q/tiles)
		if row < 0 || row > 8 {
			continue
		}
		for lane, x := range reg {
			y := &p[n0+lane&3*2+r&1][row+lane>>2]
			s := int64(int32(x)) + int64(int32(*y))
			if sat {
				s = min(max(s, -1<<31), 1<<31-1)
			}
			*y = uint32(s)
		}
	}
}

// binary is b1 with popc of xor or and.
func (in *Inst) binary(d, a, b, c []*Reg) {
	var o intOperands
	tiles := in.M / 8
	for r, reg := range a {
		for lane, x := range reg {
			o.a[r/tiles*4+lane&3][8*(r%tiles)+lane>>2] = x
		}
	}
	for r, reg := range b {
		for lane, x := range reg {
			o.b[lane>>2][r*4+lane&3] = x
		}
	}
	bitProducts(o.p[:], &o.a, o.b[:], in.K/32, in.And)
	accumulate(o.p[:], c, in.Sat, tiles, 0)
	writeD(d, o.p[:], false, tiles, 0)
}

func bitProducts(p [][16]uint32, a *[maxPairs][16]uint32, b [][maxPairs]uint32, words int, and bool) {
	for n := range p {
		p[n] = [16]uint32{}
		for k, y := range b[n][:words] {
			for r, x := range &a[k] {
				if and {
					x &= y
				} else {
					x ^= y
				}
				p[n][r] += uint32(bits.OnesCount32(x))
			}
		}
	}
}
