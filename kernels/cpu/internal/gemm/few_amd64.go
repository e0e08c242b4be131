package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

var fewSets = [...]*fewSet{
	vec.AVX2:       &fewAVX2,
	vec.AVX512:     &fewAVX512,
	vec.AVX512BF16: &fewAVX512BF16,
	vec.AMX:        &fewAVX512, // its pairs are multiplied in tiles
}

var fewAVX2 = fewSet{lanes: 8, kernels: [fewKinds][]fewFunc{
	KindF32:  {1: fewAVX2F32_1, 2: fewAVX2F32_2, 3: fewAVX2F32_3, 4: fewAVX2F32_4, 5: fewAVX2F32_5, 6: fewAVX2F32_6},
	KindBF16: {1: fewAVX2BF16_1, 2: fewAVX2BF16_2, 3: fewAVX2BF16_3, 4: fewAVX2BF16_4, 5: fewAVX2BF16_5, 6: fewAVX2BF16_6},
	KindF16:  {1: fewAVX2F16_1, 2: fewAVX2F16_2, 3: fewAVX2F16_3, 4: fewAVX2F16_4, 5: fewAVX2F16_5, 6: fewAVX2F16_6},
}}

var fewAVX512 = fewSet{lanes: 16, kernels: [fewKinds][]fewFunc{
	KindF32:  {1: fewAVX512F32_1, 2: fewAVX512F32_2, 3: fewAVX512F32_3, 4: fewAVX512F32_4, 5: fewAVX512F32_5, 6: fewAVX512F32_6, 7: fewAVX512F32_7, 8: fewAVX512F32_8, 10: fewAVX512F32_10, 12: fewAVX512F32_12, 14: fewAVX512F32_14, 16: fewAVX512F32_16},
	KindBF16: {1: fewAVX512BF16_1, 2: fewAVX512BF16_2, 3: fewAVX512BF16_3, 4: fewAVX512BF16_4, 5: fewAVX512BF16_5, 6: fewAVX512BF16_6, 7: fewAVX512BF16_7, 8: fewAVX512BF16_8, 10: fewAVX512BF16_10, 12: fewAVX512BF16_12, 14: fewAVX512BF16_14, 16: fewAVX512BF16_16},
	KindF16:  {1: fewAVX512F16_1, 2: fewAVX512F16_2, 3: fewAVX512F16_3, 4: fewAVX512F16_4, 5: fewAVX512F16_5, 6: fewAVX512F16_6, 7: fewAVX512F16_7, 8: fewAVX512F16_8, 10: fewAVX512F16_10},
}}

var fewAVX512BF16 = fewSet{lanes: 16, kernels: [fewKinds][]fewFunc{
	KindF32:  fewAVX512.kernels[KindF32],
	KindBF16: fewAVX512.kernels[KindBF16],
	KindF16:  fewAVX512.kernels[KindF16],
	fewPairs: {1: fewAVX512Pairs_1, 2: fewAVX512Pairs_2, 3: fewAVX512Pairs_3, 4: fewAVX512Pairs_4, 5: fewAVX512Pairs_5, 6: fewAVX512Pairs_6, 7: fewAVX512Pairs_7, 8: fewAVX512Pairs_8, 10: fewAVX512Pairs_10, 12: fewAVX512Pairs_12, 14: fewAVX512Pairs_14, 16: fewAVX512Pairs_16},
}}
