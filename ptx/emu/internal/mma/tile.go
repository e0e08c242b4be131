package mma

import "math"

// maxK is the longest row of floating-point operands: fp8's.
const maxK = 32

// rows is 16 rows of A, taken apart; element [k][r] is that of row r. Rows lie side by
// side because they are the lanes of the vector code.
type rows struct {
	raw      [maxK][16]uint32
	sig, exp [maxK][16]int32
	special  bool // some element is infinite or NaN
}

// columns is a piece of B, column by column: element [n*maxK+k].
type columns struct {
	raw      []uint32
	sig, exp []int32
	special  bool
}

// model computes sums of products for one pair of formats.
type model struct {
	sums
	a, b     format
	c16, d16 bool // the accumulator read, and written, is f16
}

func (m *model) decodeRowsGeneric(a *rows, k int) {
	a.special = false
	for i := range k {
		for r, x := range &a.raw[i] {
			n, s := m.a.decode(x)
			// The upper half of the word is kept clear for 16-bit products.
			a.sig[i][r], a.exp[i][r] = n.sig&0xffff, n.exp
			a.special = a.special || s
		}
	}
}

func (m *model) decodeColumnsGeneric(b *columns, n, k int) {
	b.special = false
	for i := range n {
		for j := i * maxK; j < i*maxK+k; j++ {
			x, s := m.b.decode(b.raw[j])
			b.sig[j], b.exp[j] = x.sig&0xffff, x.exp
			b.special = b.special || s
		}
	}
}

// multiply computes d = a·b + c for 16 rows and len(d) columns, each an array of 16
// accumulators' bits. d may be c.
func (m *model) multiply(d, c [][16]uint32, a *rows, b *columns, k int) {
	c16 := m.c16
	for k0 := 0; k0 < k; k0 += m.step {
		kn := min(m.step, k-k0)
		for n := 0; n < len(d); n++ {
			if !c16 && !m.d16 && !a.special && !b.special {
				n += m.fast(d[n:], c[n:], a, b, n, k0, kn)
				if n == len(d) {
					break
				}
			}
			m.column(&d[n], &c[n], a, b, n, k0, kn, c16)
		}
		c, c16 = d, m.d16
	}
}

// column computes one column, in plain Go, with all special cases.
func (m *model) column(d, c *[16]uint32, a *rows, b *columns, n, k0, kn int, c16 bool) {
	bs, be := b.sig[n*maxK+k0:][:kn], b.exp[n*maxK+k0:][:kn]
	shift := uint(m.frac) - m.a.man - m.b.man
	for r := range d {
		read := f32ToInt
		if c16 {
			read = f16ToInt
		}
		sig, exp, special := read(c[r])
		if special || a.special || b.special {
			if x, ok := m.specials(c[r], a, b, r, n, k0, kn, c16); ok {
				d[r] = x
				continue
			}
		}
		top := exp
		for i, e := range be {
			top = max(top, a.exp[k0+i][r]+e)
		}
		sum := truncate(sig<<8, uint(top-exp)+31-uint(m.frac))
		for i, s := range bs {
			p := int64(int16(a.sig[k0+i][r])) * int64(int16(s))
			sum += truncate(p<<shift, uint(top-a.exp[k0+i][r]-be[i]))
		}
		if m.d16 {
			d[r] = toF16(sum, int(top)-m.frac)
		} else {
			d[r] = toF32(sum, int(top)-m.frac, m.clear)
		}
	}
}

// truncate is x·2^-s toward zero.
func truncate(x int64, s uint) int64 {
	if x < 0 {
		return -(-x >> s)
	}
	return x >> s
}

// specials handles an output with an infinity or a NaN among its inputs; ok is false
// if it has none.
func (m *model) specials(c uint32, a *rows, b *columns, r, n, k0, kn int, c16 bool) (bits uint32, ok bool) {
	// A sum of finite products cannot be infinite in f64, nor cancel an infinity.
	var s float64
	if c16 {
		s = m16.float(c)
	} else {
		s = float64(math.Float32frombits(c))
	}
	for k := k0; k < k0+kn; k++ {
		s += m.a.float(a.raw[k][r]) * m.b.float(b.raw[n*maxK+k])
	}
	nan, inf, sign := uint32(0x7fffffff), uint32(0x7f800000), uint32(1<<31)
	if m.d16 {
		nan, inf, sign = 0x7fff, 0x7c00, 0x8000
	}
	switch {
	case s != s:
		return nan, true
	case math.IsInf(s, 1):
		return inf, true
	case math.IsInf(s, -1):
		return inf | sign, true
	}
	return 0, false
}

var m16 = format{bits: 16, man: 10, exp: 5}
