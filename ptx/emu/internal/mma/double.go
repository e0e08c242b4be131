package mma

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

// DoF64 executes an instruction with f64 for a whole warp (9.7.14.5.11 and following): a chain
// of fma along k, from c on, each rounded as the instruction says. d may share registers with the other operands.
func (in *Inst) DoF64(d, a, b, c []*Reg64) {
	if in.A != ptx.F64 || len(d) < in.ND || len(a) < in.NA || len(b) < in.NB || len(c) < in.NC {
		panic(fmt.Sprintf("%v: not of f64, or too few registers: %d, %d, %d, %d for d, a, b, c", in.Spec, len(d), len(a), len(b), len(c)))
	}
	var x [16][16]float64 // [row][k]
	var y [8][16]float64  // [n][k]
	for r, reg := range a[:in.NA] {
		for lane, v := range reg {
			k, row := lane&3, lane>>2
			if in.M == 16 {
				k, row = k+r>>1*4, row+8*(r&1)
			}
			x[row][k] = math.Float64frombits(v)
		}
	}
	for r, reg := range b[:in.NB] {
		for lane, v := range reg {
			y[lane>>2][r*4+lane&3] = math.Float64frombits(v)
		}
	}
	var out [4]Reg64 // d may be c in another order
	for r, reg := range c[:in.NC] {
		for lane, v := range reg {
			row, col := 8*(r>>1)+lane>>2, lane&3*2+r&1
			s := math.Float64frombits(v)
			for k, z := range x[row][:in.K] {
				if in.Rnd == num.RN {
					s = math.FMA(z, y[col][k], s)
					continue
				}
				s = math.Float64frombits(num.Fma64(math.Float64bits(z), math.Float64bits(y[col][k]), math.Float64bits(s), in.Rnd))
			}
			if s != s {
				out[r][lane] = num.NaN64
			} else {
				out[r][lane] = math.Float64bits(s)
			}
		}
	}
	for r, reg := range d[:in.ND] {
		*reg = out[r]
	}
}
