package vec

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/selkie-ml/selkie/internal/amx"
)

func detect() ISA {
	// cpuid also asks the operating system whether it saves the wide registers.
	if !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.BMI2) {
		return Generic
	}
	if !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL) {
		return AVX2
	}
	if !cpuid.CPU.Supports(cpuid.AVX512BF16) {
		return AVX512
	}
	if !amx.BF16() {
		return AVX512BF16
	}
	return AMX
}
