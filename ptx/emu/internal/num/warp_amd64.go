package num

//go:generate sh -c "cd _asm && go run . -out ../znum_amd64.s -stubs ../znum_amd64.go -pkg num"

// merge copies the lanes of mask.
func merge(d, s *[32]uint32, mask uint32) {
	for i := range d {
		if mask>>i&1 != 0 {
			d[i] = s[i]
		}
	}
}

func warpAdd(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		addAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		addAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		addAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpAddGeneric(d, a, b, mask)
	}
}

func warpAddFtz(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		addFtzAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		addFtzAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		addFtzAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpAddFtzGeneric(d, a, b, mask)
	}
}

func warpSub(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		subAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		subAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		subAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpSubGeneric(d, a, b, mask)
	}
}

func warpSubFtz(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		subFtzAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		subFtzAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		subFtzAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpSubFtzGeneric(d, a, b, mask)
	}
}

func warpMul(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		mulAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		mulAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		mulAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpMulGeneric(d, a, b, mask)
	}
}

func warpMulFtz(d, a, b *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		mulFtzAVX512(d, a, b, mask)
	case Vectors == AVX2 && mask == full:
		mulFtzAVX2(d, a, b)
	case Vectors == AVX2:
		var t [32]uint32
		mulFtzAVX2(&t, a, b)
		merge(d, &t, mask)
	default:
		warpMulFtzGeneric(d, a, b, mask)
	}
}

func warpFma(d, a, b, c *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		fmaAVX512(d, a, b, c, mask)
	case Vectors == AVX2 && mask == full:
		fmaAVX2(d, a, b, c)
	case Vectors == AVX2:
		var t [32]uint32
		fmaAVX2(&t, a, b, c)
		merge(d, &t, mask)
	default:
		warpFmaGeneric(d, a, b, c, mask)
	}
}

func warpFmaFtz(d, a, b, c *[32]uint32, mask uint32) {
	switch {
	case Vectors == AVX512:
		fmaFtzAVX512(d, a, b, c, mask)
	case Vectors == AVX2 && mask == full:
		fmaFtzAVX2(d, a, b, c)
	case Vectors == AVX2:
		var t [32]uint32
		fmaFtzAVX2(&t, a, b, c)
		merge(d, &t, mask)
	default:
		warpFmaFtzGeneric(d, a, b, c, mask)
	}
}
