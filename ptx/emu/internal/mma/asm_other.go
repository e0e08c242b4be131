//go:build !amd64

package mma

func (m *model) fast(d, c [][16]uint32, a *rows, b *columns, n, k0, kn int) int { return 0 }

func (m *model) decodeRows(a *rows, k int) { m.decodeRowsGeneric(a, k) }

func (m *model) decodeColumns(b *columns, n, k int) { m.decodeColumnsGeneric(b, n, k) }

func intProducts(p [][16]uint32, a *[maxPairs][16]uint32, b [][maxPairs]uint32, pairs int) {
	intProductsGeneric(p, a, b, pairs)
}
