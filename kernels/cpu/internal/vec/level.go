package vec

import "os"

// ISA is a set of vector instructions that kernels are written for.
type ISA uint8

const (
	Generic ISA = iota // plain Go
	AVX2               // AVX2, FMA3, F16C and BMI2
	AVX512             // AVX-512 F, BW, DQ and VL, besides AVX2's set
)

var isaNames = [...]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512"}

func (i ISA) String() string { return isaNames[i] }

// widest is the best set that this processor has and the environment allows;
// active is the one in use. Only ForceLevel changes active.
var (
	widest = allowed(detect(), os.Getenv("SELKIE_NO_AVX512") == "1", os.Getenv("SELKIE_NO_AVX2") == "1")
	active = widest
)

// allowed applies the kill switches. Without AVX2 there is no AVX-512 either.
func allowed(have ISA, noAVX512, noAVX2 bool) ISA {
	if noAVX2 {
		return Generic
	}
	if noAVX512 {
		return min(have, AVX2)
	}
	return have
}

// Active returns the instruction set in use. It is the best one that the
// processor has, unless SELKIE_NO_AVX512=1 or SELKIE_NO_AVX2=1 (which includes
// the former) was in the environment when the program started.
func Active() ISA { return active }

// Level names the instruction set in use: "avx512", "avx2" or "generic".
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
