package mma

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func TestLevels(t *testing.T) {
	have := num.Vectors
	defer func() { num.Vectors = have }()
	for l := num.Generic; l < have; l++ {
		num.Vectors = l
		r := rand.New(rand.NewPCG(11, uint64(l)))
		for _, s := range allSpecs() {
			if s.D == ptx.S32 && s.A == ptx.B1 || s.D == ptx.F64 {
				continue
			}
			for _, arch := range []Arch{Ampere, Hopper} {
				in, err := s.Compile(arch)
				if err != nil {
					t.Fatal(err)
				}
				testSync(t, in, arch, r, 3)
			}
		}
	}
}

// TestExtremes drives the vector code to where it must hand over: sums beyond 31 bits,
// results infinite or subnormal, accumulators far above and below.
func TestExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 13))
	have := num.Vectors
	defer func() { num.Vectors = have }()
	for _, ty := range []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32} {
		s := Spec{M: 16, N: 8, K: 16, A: ty, B: ty, C: ptx.F32, D: ptx.F32}
		if ty == ptx.TF32 {
			s.K = 8
		}
		in, err := s.Compile(Hopper)
		if err != nil {
			t.Fatal(err)
		}
		for trial := range 40 {
			num.Vectors = num.Level(trial % (int(have) + 1))
			var regs [3][]*Reg
			for i, n := range []int{in.NA, in.NB, in.NC} {
				for range n {
					reg := new(Reg)
					for lane := range reg {
						e := func(t ptx.Type) uint32 {
							f := floatShapes[t]
							top := uint64(1)<<f.exp - 2
							field := []uint64{top, 1, 0, top / 2, top/2 - 60&top}[trial/8]
							m := uint64(1)<<(f.man+f.drop) - 1
							return uint32(field<<(f.man+f.drop) | m&(r.Uint64()|r.Uint64()|r.Uint64()))
						}
						if i == 2 {
							reg[lane] = e(ptx.F32) >> (r.IntN(4) / 3 * 4)
						} else if reg[lane] = e(ty); ty.Bits() == 16 {
							reg[lane] |= e(ty) << 16
						}
					}
					regs[i] = append(regs[i], reg)
				}
			}
			for _, reg := range regs[2] {
				for lane := range reg {
					if reg[lane]&0x7f800000 == 0x7f800000 {
						reg[lane] &^= 1 << 23
					}
				}
			}
			d := make([]*Reg, in.ND)
			for i := range d {
				d[i] = new(Reg)
			}
			in.Do(d, regs[0], regs[1], regs[2])
			elem := func(op byte, t ptx.Type, rs []*Reg) matrix {
				m := matrix{}
				x := make([][32]uint64, len(rs))
				for i := range rs {
					for l, v := range rs[i] {
						x[i][l] = uint64(v)
					}
				}
				move(s, op, t, x, m, false)
				return m
			}
			a, b, c, got := elem('a', ty, regs[0]), elem('b', ty, regs[1]), elem('c', ptx.F32, regs[2]), elem('d', ptx.F32, d)
			for i := range 16 {
				j := r.IntN(8)
				row, col := make([]uint64, s.K), make([]uint64, s.K)
				for k := range s.K {
					row[k], col[k] = a[[3]int{0, i, k}], b[[3]int{0, k, j}]
				}
				at := [3]int{0, i, j}
				if want := refElement(s, Hopper, row, col, c[at]); got[at] != want {
					t.Fatalf("%v, trial %d, level %d: d%v is %#x, want %#x", s, trial, num.Vectors, at, got[at], want)
				}
			}
		}
	}
}

func BenchmarkSync(b *testing.B) {
	for _, s := range []Spec{
		{M: 16, N: 8, K: 16, A: ptx.F16, B: ptx.F16, C: ptx.F32, D: ptx.F32},
		{M: 16, N: 8, K: 16, A: ptx.F16, B: ptx.F16, C: ptx.F16, D: ptx.F16},
		{M: 16, N: 8, K: 8, A: ptx.TF32, B: ptx.TF32, C: ptx.F32, D: ptx.F32},
		{M: 16, N: 8, K: 32, A: ptx.S8, B: ptx.S8, C: ptx.S32, D: ptx.S32},
		{M: 16, N: 8, K: 256, A: ptx.B1, B: ptx.B1, C: ptx.S32, D: ptx.S32},
		{M: 16, N: 8, K: 16, A: ptx.F64, B: ptx.F64, C: ptx.F64, D: ptx.F64},
	} {
		for _, arch := range []Arch{Ampere, Hopper} {
			b.Run(fmt.Sprintf("%v/%v", s, arch), func(b *testing.B) {
				in, err := s.Compile(arch)
				if err != nil {
					b.Fatal(err)
				}
				r := rand.New(rand.NewPCG(1, 1))
				if s.A == ptx.F64 {
					regs := make([]Reg64, in.NA+in.NB+in.NC)
					var p []*Reg64
					for i := range regs {
						for l := range regs[i] {
							regs[i][l] = math.Float64bits(r.NormFloat64())
						}
						p = append(p, &regs[i])
					}
					for b.Loop() {
						in.DoF64(p[in.NA+in.NB:], p, p[in.NA:], p[in.NA+in.NB:])
					}
					return
				}
				regs := make([]Reg, in.NA+in.NB+in.NC+in.ND)
				var p []*Reg
				for i := range regs {
					for l := range regs[i] {
						regs[i][l] = uint32(draw(r, s.A, 0))
						if w := s.A.Bits(); w == 16 {
							regs[i][l] |= uint32(draw(r, s.A, 0)) << 16
						} else if w < 16 {
							regs[i][l] = r.Uint32()
						}
					}
					p = append(p, &regs[i])
				}
				c := p[in.NA+in.NB:]
				d := c[in.NC:]
				for b.Loop() {
					in.Do(d, p, p[in.NA:], c)
				}
			})
		}
	}
}
