package mma

// ldmatrix, stmatrix and movmatrix with m8n8.b16: PTX ISA 9.7.14.5.15 to 9.7.14.5.17.
// Rows are 16 bytes, as four words; rows 8q … 8q+7 are those of matrix q, whose
// addresses lanes 8q … 8q+7 supply.

// Ldmatrix distributes matrices, one to each register of d (1, 2 or 4).
func Ldmatrix(d []*Reg, rows *[32][4]uint32, trans bool) {
	for q, reg := range d {
		m := rows[8*q:][:8]
		if !trans {
			for lane := range reg {
				reg[lane] = m[lane>>2][lane&3]
			}
			continue
		}
		for lane := range reg {
			g, t := lane>>2, lane&3
			s := 16 * (g & 1)
			reg[lane] = m[2*t][g>>1]>>s&0xffff | m[2*t+1][g>>1]>>s<<16
		}
	}
}

// Stmatrix gathers the rows to be stored, the inverse of Ldmatrix.
func Stmatrix(rows *[32][4]uint32, s []*Reg, trans bool) {
	for q, reg := range s {
		m := rows[8*q:][:8]
		src := reg
		if trans {
			var x Reg
			Movmatrix(&x, reg)
			src = &x
		}
		for lane, x := range src {
			m[lane>>2][lane&3] = x
		}
	}
}

// Movmatrix is movmatrix.trans.b16: the transpose of an 8×8 matrix. d may be a.
func Movmatrix(d, a *Reg) {
	x := *a
	for lane := range d {
		g, t := lane>>2, lane&3
		s := 16 * (g & 1)
		// Element (g, c) of the result is (c, g) of a, which lane 4c+g/2 holds.
		d[lane] = x[8*t+g>>1]>>s&0xffff | x[8*t+4+g>>1]>>s<<16
	}
}
