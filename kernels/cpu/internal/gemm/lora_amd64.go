package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

var streamSets = [...]*streamSet{
	vec.Generic: &genericStreams,
	vec.AVX2: {width: 16, tall: []streamKernel{
		{6, streamAVX2_6x16, streamAVX2_6x8},
		{4, streamAVX2_4x16, streamAVX2_4x8},
		{3, streamAVX2_3x16, streamAVX2_3x8},
		{2, streamAVX2_2x16, streamAVX2_2x8},
		{1, streamAVX2_1x16, streamAVX2_1x8},
	}},
	vec.AVX512: {width: 32, tall: []streamKernel{
		{maxTile, streamAVX512_12x32, streamAVX512_12x16},
		{8, streamAVX512_8x32, streamAVX512_8x16},
		{6, streamAVX512_6x32, streamAVX512_6x16},
		{4, streamAVX512_4x32, streamAVX512_4x16},
		{3, streamAVX512_3x32, streamAVX512_3x16},
		{2, streamAVX512_2x32, streamAVX512_2x16},
		{1, streamAVX512_1x32, streamAVX512_1x16},
	}},
}
