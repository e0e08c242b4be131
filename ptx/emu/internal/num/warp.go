package num

// Operations on the 32 lanes of a register at once. Lanes outside mask keep what they
// hold in d; d may be an operand.

// full is the mask of a warp without divergence.
const full = ^uint32(0)

// Warp2 applies f to the lanes of mask.
func Warp2(d, a, b *[32]uint32, mask uint32, f func(a, b uint32) uint32) {
	for i := range d {
		if mask>>i&1 != 0 {
			d[i] = f(a[i], b[i])
		}
	}
}

// Warp3 applies f to the lanes of mask.
func Warp3(d, a, b, c *[32]uint32, mask uint32, f func(a, b, c uint32) uint32) {
	for i := range d {
		if mask>>i&1 != 0 {
			d[i] = f(a[i], b[i], c[i])
		}
	}
}

// WarpAdd32 is add.rn.f32.
func WarpAdd32(d, a, b *[32]uint32, mask uint32) { warpAdd(d, a, b, mask) }

func warpAddGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, AddRN32)
}

// WarpAdd32Ftz is add.rn.ftz.f32.
func WarpAdd32Ftz(d, a, b *[32]uint32, mask uint32) { warpAddFtz(d, a, b, mask) }

func warpAddFtzGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, func(a, b uint32) uint32 { return Add32(a, b, RN, true, false) })
}

// WarpSub32 is sub.rn.f32.
func WarpSub32(d, a, b *[32]uint32, mask uint32) { warpSub(d, a, b, mask) }

func warpSubGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, SubRN32)
}

// WarpSub32Ftz is sub.rn.ftz.f32.
func WarpSub32Ftz(d, a, b *[32]uint32, mask uint32) { warpSubFtz(d, a, b, mask) }

func warpSubFtzGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, func(a, b uint32) uint32 { return Sub32(a, b, RN, true, false) })
}

// WarpMul32 is mul.rn.f32.
func WarpMul32(d, a, b *[32]uint32, mask uint32) { warpMul(d, a, b, mask) }

func warpMulGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, MulRN32)
}

// WarpMul32Ftz is mul.rn.ftz.f32.
func WarpMul32Ftz(d, a, b *[32]uint32, mask uint32) { warpMulFtz(d, a, b, mask) }

func warpMulFtzGeneric(d, a, b *[32]uint32, mask uint32) {
	Warp2(d, a, b, mask, func(a, b uint32) uint32 { return Mul32(a, b, RN, true, false) })
}

// WarpFma32 is fma.rn.f32.
func WarpFma32(d, a, b, c *[32]uint32, mask uint32) { warpFma(d, a, b, c, mask) }

func warpFmaGeneric(d, a, b, c *[32]uint32, mask uint32) {
	Warp3(d, a, b, c, mask, FmaRN32)
}

// WarpFma32Ftz is fma.rn.ftz.f32.
func WarpFma32Ftz(d, a, b, c *[32]uint32, mask uint32) { warpFmaFtz(d, a, b, c, mask) }

func warpFmaFtzGeneric(d, a, b, c *[32]uint32, mask uint32) {
	Warp3(d, a, b, c, mask, func(a, b, c uint32) uint32 { return Fma32(a, b, c, RN, true, false) })
}
