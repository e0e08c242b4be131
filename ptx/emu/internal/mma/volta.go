package mma

// m8n8k4 with f16 (9.7.14.5.1): four products at once, one per quad pair of lanes
// q·4 … q·4+3 and 16+q·4 … 16+q·4+3.

// quadPairs executes mma.m8n8k4 with f16.
func (in *Inst) quadPairs(d, a, b, c []*Reg) {
	// All is read before anything is written: d may be c.
	var out [8]Reg
	o := pool.Get().(*operands)
	defer pool.Put(o)
	o.a.raw = [maxK][16]uint32{} // 8 rows of 16
	for q := range 4 {
		for i := range 8 {
			lane, high := q*4+i&3, 4*(i>>2)
			lane += 4 * high
			for e := range 4 {
				x := a[e>>1][lane] >> (16 * (e & 1)) & 0xffff
				y := b[e>>1][lane] >> (16 * (e & 1)) & 0xffff
				if in.ColA {
					o.a.raw[i&3][high+e] = x
				} else {
					o.a.raw[e][high+i&3] = x
				}
				if in.RowB {
					o.braw[(high+e)*maxK+i&3] = y
				} else {
					o.braw[(high+i&3)*maxK+e] = y
				}
			}
			for e := range 8 {
				row, col := voltaC(in.m.c16, i, e)
				if in.m.c16 {
					o.c[col][row] = c[e>>1][lane] >> (16 * (e & 1)) & 0xffff
				} else {
					o.c[col][row] = c[e][lane]
				}
			}
		}
		in.m.decodeRows(&o.a, 4)
		in.m.decodeColumns(&o.cols, 8, 4)
		in.m.multiply(o.c[:], o.c[:], &o.a, &o.cols, 4)
		for i := range 8 {
			lane := q*4 + i&3 + 16*(i>>2)
			for e := range 8 {
				row, col := voltaC(in.m.d16, i, e)
				if in.m.d16 {
					out[e>>1][lane] |= o.c[col][row] << (16 * (e & 1))
				} else {
					out[e][lane] = o.c[col][row]
				}
			}
		}
	}
	for r, reg := range d {
		*reg = out[r]
	}
}

// voltaC is the place of accumulator e of lane i of a quad pair, i counted from 0 to 7.
func voltaC(half bool, i, e int) (row, col int) {
	if half {
		return i, e
	}
	return i&1 + e&2 + 4*(i>>2), e&4 + i&2 + e&1
}
