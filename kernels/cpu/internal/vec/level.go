package vec

import "os"

// ISA is a set of vector instructions that kernels are written for.
type ISA uint8

const (
	Generic    ISA = iota // plain Go
	AVX2                  // AVX2, FMA3, F16C and BMI2
	AVX512                // AVX-512 F, BW, DQ and VL, besides AVX2's set
	AVX512BF16            // AVX-512 BF16, besides AVX512's set
	AMX                   // AMX BF16, besides AVX512BF16's set
)

var isaNames = [...]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", AVX512BF16: "avx512bf16", AMX: "amx"}

func (i ISA) String() string { return isaNames[i] }

// widest is the best set that this processor has and the environment allows;
// active is the one in use. Only ForceLevel changes active.
var (
	widest = allowed(detect(), func(name string) bool { return os.Getenv(name) == "1" })
	active = widest
)

// allowed applies the kill switches: without a set there is none that includes it.
func allowed(have ISA, set func(name string) bool) ISA {
	switch {
	case set("SELKIE_NO_AVX2"):
		return Generic
	case set("SELKIE_NO_AVX512"):
		return min(have, AVX2)
	case set("SELKIE_NO_AVX512BF16"):
		return min(have, AVX512)
	case set("SELKIE_NO_AMX"):
		return min(have, AVX512BF16)
	}
	return have
}

// Active returns the instruction set in use. It is the best one that the
// processor has, unless SELKIE_NO_AMX=1, SELKIE_NO_AVX512BF16=1,
// SELKIE_NO_AVX512=1 or SELKIE_NO_AVX2=1 (each includes those before it) was in
// the environment when the program started. Sets are ordered: each includes the
// smaller ones.
func Active() ISA { return active }

// Level names the instruction set in use: "amx", "avx512bf16", "avx512", "avx2" or "generic".
func Level() string { return active.String() }

// Levels lists the levels that this process can run, the best first.
func Levels() []string {
	var names []string
	for i := int(widest); i >= 0; i-- {
		names = append(names, ISA(i).String())
	}
	return names
}

// ForceLevel makes this package and gemm use the named level until restore is
// called. It is for tests, and not safe while kernels run. It panics for a
// level that is not among Levels.
func ForceLevel(level string) (restore func()) {
	for i := range widest + 1 {
		if i.String() == level {
			old := active
			active = i
			return func() { active = old }
		}
	}
	panic("vec.ForceLevel: this process cannot run level " + level)
}
