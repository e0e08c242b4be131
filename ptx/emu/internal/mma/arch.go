package mma

import "github.com/selkie-ml/selkie/ptx"

// Arch is a generation of tensor cores.
type Arch uint8

const (
	Turing Arch = iota // sm_75
	Ampere             // sm_80, sm_86, sm_87
	Ada                // sm_89
	Hopper             // sm_90 and, until told apart, later
)

var archNames = [...]string{"Turing", "Ampere", "Ada", "Hopper"}

func (a Arch) String() string { return archNames[a] }

// ArchOf gives the generation of sm_N.
func ArchOf(sm int) Arch {
	switch {
	case sm < 80:
		return Turing
	case sm < 89:
		return Ampere
	case sm < 90:
		return Ada
	}
	return Hopper
}

// sums says how a generation sums.
type sums struct {
	frac  int    // F: fraction bits kept of every aligned addend
	step  int    // products in one sum; longer rows are split, one after the other
	clear uint32 // low bits of an f32 result that are always zero
}

// sumsOf is MMA-Sim's table. mma.sync with fp8 on Hopper is not in it: there the
// operands are widened and go through the f16 units, which is what ptxas emits.
func sumsOf(a Arch, t ptx.Type, wgmma bool) sums {
	s := sums{frac: 24, step: 8}
	if a == Hopper {
		s = sums{frac: 25, step: 16}
	}
	switch t {
	case ptx.TF32:
		s.step /= 2
	case ptx.E4M3, ptx.E5M2:
		switch {
		case wgmma:
			return sums{frac: 13, step: 32, clear: 1<<10 - 1}
		case a == Ada:
			return sums{frac: 13, step: 16, clear: 1<<10 - 1}
		}
	}
	return s
}
