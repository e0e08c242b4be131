//go:build !amd64

package num

func warpAdd(d, a, b *[32]uint32, mask uint32) { warpAddGeneric(d, a, b, mask) }

func warpAddFtz(d, a, b *[32]uint32, mask uint32) { warpAddFtzGeneric(d, a, b, mask) }

func warpSub(d, a, b *[32]uint32, mask uint32) { warpSubGeneric(d, a, b, mask) }

func warpSubFtz(d, a, b *[32]uint32, mask uint32) { warpSubFtzGeneric(d, a, b, mask) }

func warpMul(d, a, b *[32]uint32, mask uint32) { warpMulGeneric(d, a, b, mask) }

func warpMulFtz(d, a, b *[32]uint32, mask uint32) { warpMulFtzGeneric(d, a, b, mask) }

func warpFma(d, a, b, c *[32]uint32, mask uint32) { warpFmaGeneric(d, a, b, c, mask) }

func warpFmaFtz(d, a, b, c *[32]uint32, mask uint32) { warpFmaFtzGeneric(d, a, b, c, mask) }
