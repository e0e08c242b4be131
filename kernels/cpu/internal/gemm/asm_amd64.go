package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

var kernelSets = [...]*kernelSet{
	vec.Generic: &genericKernels,
	vec.AVX2: {width: 16, tall: []kernel{
		{6, tileAVX2_6x16, tileAVX2_6x8},
		{4, tileAVX2_4x16, tileAVX2_4x8},
		{2, tileAVX2_2x16, tileAVX2_2x8},
		{1, tileAVX2_1x16, tileAVX2_1x8},
	}},
	vec.AVX512: {width: 32, tall: []kernel{
		{maxTile, tileAVX512_12x32, tileAVX512_12x16},
		{8, tileAVX512_8x32, tileAVX512_8x16},
		{4, tileAVX512_4x32, tileAVX512_4x16},
		{2, tileAVX512_2x32, tileAVX512_2x16},
		{1, tileAVX512_1x32, tileAVX512_1x16},
	}},
}

// pairKernels multiply pairs of bfloat16, from level AVX512BF16 on.
var pairKernels = &kernelSet{width: 32, tall: []kernel{
	{maxTile, tileBF16_12x32, tileBF16_12x16},
	{8, tileBF16_8x32, tileBF16_8x16},
	{4, tileBF16_4x32, tileBF16_4x16},
	{2, tileBF16_2x32, tileBF16_2x16},
	{1, tileBF16_1x32, tileBF16_1x16},
}}

// packRowsFast packs full panels of a b in FormNN and returns how many it did.
func packRowsFast(dst []float32, b *Matrix, col0, col1, k0, kc int) int {
	panels := (col1 - col0) / panel
	if vec.Active() == vec.Generic || panels == 0 {
		return 0
	}
	for x := range panels {
		to, at := &dst[x*kc*panel], k0*b.Ld+col0+x*panel
		switch wide := vec.Active() >= vec.AVX512; {
		case b.Kind == KindF32 && wide:
			packRows16F32(to, &b.F32[at], b.Ld, kc)
		case b.Kind == KindF32:
			packRows8F32(to, &b.F32[at], b.Ld, kc)
		case b.Kind == KindBF16 && wide:
			packRows16BF16(to, &b.Bits[at], b.Ld, kc)
		case b.Kind == KindBF16:
			packRows8BF16(to, &b.Bits[at], b.Ld, kc)
		case wide:
			packRows16F16(to, &b.Bits[at], b.Ld, kc)
		default:
			packRows8F16(to, &b.Bits[at], b.Ld, kc)
		}
	}
	return panels
}

// packColumnsFast transposes what it can in blocks of 16×16 or 8×8: rows below
// l of the first j columns are done.
func packColumnsFast(dst []float32, b *Matrix, n0, nc, k0, kc int) (j, l int) {
	if vec.Active() >= vec.AVX512 && nc >= 16 && b.Kind != KindF16 {
		at := n0*b.Ld + k0
		if b.Kind == KindF32 {
			if l = kc / 16 * 16; l > 0 {
				for ; j+16 <= nc; j += 16 {
					packColumns16F32(&dst[j], &b.F32[at+j*b.Ld], 4*b.Ld, l/16)
				}
			}
		} else if l = kc / 32 * 32; l > 0 {
			for ; j+16 <= nc; j += 16 {
				packColumns16BF16(&dst[j], word(b.Bits, at+j*b.Ld), 2*b.Ld, l/32)
			}
		}
		return j, l
	}
	blocks := kc / 8
	if vec.Active() == vec.Generic || blocks == 0 {
		return 0, 0
	}
	for ; j+8 <= nc; j += 8 {
		at := (n0+j)*b.Ld + k0
		switch b.Kind {
		case KindF32:
			packColumns8F32(&dst[j], &b.F32[at], b.Ld, blocks)
		case KindBF16:
			packColumns8BF16(&dst[j], &b.Bits[at], b.Ld, blocks)
		case KindF16:
			packColumns8F16(&dst[j], &b.Bits[at], b.Ld, blocks)
		}
	}
	return j, blocks * 8
}

// packPairColumnsFast is packColumnsFast for pairs: a pair is moved like an f32.
func packPairColumnsFast(dst []float32, b *Matrix, n0, nc, k0, pairs int) (j, l int) {
	if l = pairs / 16 * 16; l > 0 {
		for ; j+16 <= nc; j += 16 {
			packColumns16F32(&dst[j], word(b.Bits, (n0+j)*b.Ld+2*k0), 2*b.Ld, l/16)
		}
	}
	return j, l
}

// packPairRowsFast is packRowsFast for pairs, of which a panel has room for kc.
func packPairRowsFast(dst []float32, b *Matrix, col0, col1, k0, pairs, kc int) int {
	panels := (col1 - col0) / panel
	if panels == 0 || pairs == 0 {
		return 0
	}
	packRowPairs(&dst[0], &b.Bits[2*k0*b.Ld+col0], b.Ld, pairs, kc, panels)
	return panels
}

// packSteps copies the columns of so many of the tallest tiles, of kb rows, ld elements
// apart.
func packSteps(dst []float32, src *float32, ld, kb, tiles int) {
	packSteps12(&dst[0], src, ld, kb, tiles)
}
