//go:build !ptxbootstrap

package ptx

// WgmmaDesc emits the descriptor of a matrix in shared memory whose rows lie along K,
// swizzled over the given span: 8 rows of a span's width each, sbo bytes from one group
// of 8 rows to the next (0: dense, 8 spans). Without swizzle the matrix is made of 8x16
// byte blocks, lbo bytes apart along K. The start must be a multiple of the swizzle's
// Align, but for WgmmaDescPlus. (PTX ISA, "Matrix Descriptor Format")
func (k *Builder) WgmmaDesc(start SharedPtr, s Swizzle, lbo, sbo int) RegB64 {
	if sbo == 0 {
		sbo = 8 * max(int(s), 16)
	}
	if lbo == 0 {
		lbo = 16
	}
	if lbo%16 != 0 || sbo%16 != 0 || lbo >= 1<<18 || sbo >= 1<<18 {
		k.fail("WgmmaDesc", "offsets of %d and %d bytes, expected multiples of 16 under 2^18", lbo, sbo)
	}
	mode := map[Swizzle]uint64{SwizzleNone: 0, Swizzle128: 1, Swizzle64: 2, Swizzle32: 3}[s]
	fixed := uint64(lbo>>4)<<16 | uint64(sbo>>4)<<32 | mode<<62
	low := start.Value().Shr(4) // a block's own addresses have 18 bits
	return k.OrB64(k.CvtU64U32(low), I(int64(fixed)))
}

// WgmmaDescPlus moves a descriptor by so many bytes, a multiple of 16: along K inside
// the span of its swizzle, or by whole groups of rows.
func (k *Builder) WgmmaDescPlus(desc RegB64, bytes int) RegB64 {
	if bytes%16 != 0 {
		k.fail("WgmmaDescPlus", "%d bytes, expected a multiple of 16", bytes)
	}
	if bytes == 0 {
		return desc
	}
	return k.AddS64(desc, I(bytes>>4)).AsB64()
}
