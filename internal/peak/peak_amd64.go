package peak

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/klauspost/cpuid/v2"

	"github.com/selkie-ml/selkie/internal/amx"
)

var (
	wide  = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512VL)
	fma   = widestFMA()
	half  = narrowFMA()
	loads = loadedFMA()
	dot   = widestDot()
)

func widestFMA() unit {
	switch {
	case wide:
		return unit{fmaAVX512, 24 * 16 * 2}
	case cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3):
		return unit{fmaAVX2, 12 * 8 * 2}
	}
	return scalar
}

// narrowFMA is the loop of vectors half as wide as the widest.
func narrowFMA() unit {
	if wide && cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		return unit{fmaAVX2, 12 * 8 * 2}
	}
	return unit{}
}

// loadedFMA is the widest loop with reads.
func loadedFMA() unit {
	p := new([256]byte)
	switch {
	case wide:
		return unit{func(rounds int) { fmaLoadsAVX512(&p[0], rounds) }, 24 * 16 * 2}
	case cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3):
		return unit{func(rounds int) { fmaLoadsAVX2(&p[0], rounds) }, 12 * 8 * 2}
	}
	return unit{}
}

func widestDot() unit {
	if amx.BF16() {
		// Palette 1; every tile has 16 rows of 64 bytes.
		shape := [64]byte{0: 1}
		for t := range 8 {
			shape[16+2*t], shape[48+t] = 64, 16
		}
		// Numbers of either sign between 1/2 and 2.
		var factors [1024]byte
		rng := rand.New(rand.NewPCG(1, 1))
		for i := 0; i < len(factors); i += 2 {
			binary.LittleEndian.PutUint16(factors[i:], uint16(0x3f00+rng.IntN(0x100)|rng.IntN(2)<<15))
		}
		return unit{func(rounds int) { dotAMX(&shape[0], &factors[0], rounds/4) }, 16 * 16 * 32 * 2}
	}
	if wide && cpuid.CPU.Supports(cpuid.AVX512BF16) {
		return unit{dotBF16, 24 * 16 * 4}
	}
	return unit{}
}

func read(p []byte) {
	switch blocks := len(p) / 512; {
	case wide:
		readAVX512(&p[0], blocks)
	case cpuid.CPU.Supports(cpuid.AVX2):
		readAVX2(&p[0], blocks)
	default:
		readScalar(p)
	}
}
