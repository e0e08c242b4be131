package mma

import "github.com/selkie-ml/selkie/ptx/emu/internal/num"

//go:generate sh -c "cd _asm && go run . -out ../zmma_amd64.s -stubs ../zmma_amd64.go -pkg mma"

// fast computes columns from n on in vectors and returns how many it could.
func (m *model) fast(d, c [][16]uint32, a *rows, b *columns, n, k0, kn int) int {
	shift := uint32(m.frac) - uint32(m.a.man+m.b.man)
	cleft, cright := uint32(max(m.frac-23, 0)), uint32(max(23-m.frac, 0))
	bs, be := &b.sig[n*maxK+k0], &b.exp[n*maxK+k0]
	switch num.Vectors {
	case num.AVX512:
		return columnsAVX512(&d[0], &c[0], &a.sig[k0], &a.exp[k0], bs, be, len(d), kn, shift, cleft, cright, uint32(m.frac), ^m.clear)
	case num.AVX2:
		return columnsAVX2(&d[0], &c[0], &a.sig[k0], &a.exp[k0], bs, be, len(d), kn, shift, cleft, cright, uint32(m.frac), ^m.clear)
	}
	return 0
}

func (f *format) decodeAll(sig, exp *int32, raw *uint32, n int) (special bool) {
	manMask, expMask := uint32(1)<<f.man-1, uint32(1)<<f.exp-1
	sp := expMask << f.man
	if f.finite {
		sp |= manMask
	}
	t := int32(tiny)
	return decodeAVX2(sig, exp, raw, n, uint32(f.drop), uint32(f.man), uint32(31-f.man-f.exp), manMask, expMask, sp, uint32(t)) != 0
}

func (m *model) decodeRows(a *rows, k int) {
	if num.Vectors == num.Generic {
		m.decodeRowsGeneric(a, k)
		return
	}
	a.special = m.a.decodeAll(&a.sig[0][0], &a.exp[0][0], &a.raw[0][0], 16*k)
}

// decodeColumns decodes at least 8 elements of a column; those beyond k are not used.
func (m *model) decodeColumns(b *columns, n, k int) {
	if num.Vectors == num.Generic {
		m.decodeColumnsGeneric(b, n, k)
		return
	}
	b.special = false
	for i := range n {
		j := i * maxK
		if k < 8 {
			clear(b.raw[j+k : j+8])
		}
		if m.b.decodeAll(&b.sig[j], &b.exp[j], &b.raw[j], max(k, 8)) {
			b.special = true
		}
	}
}

func intProducts(p [][16]uint32, a *[maxPairs][16]uint32, b [][maxPairs]uint32, pairs int) {
	switch num.Vectors {
	case num.AVX512:
		intProductsAVX512(&p[0], &a[0], &b[0][0], len(p), pairs)
	case num.AVX2:
		intProductsAVX2(&p[0], &a[0], &b[0][0], len(p), pairs)
	default:
		intProductsGeneric(p, a, b, pairs)
	}
}
