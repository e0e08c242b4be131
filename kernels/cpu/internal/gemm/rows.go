package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

// aliased tells whether rows that are ld elements apart push one another out of
// the L1 cache: multiples of 2 KiB fall into two of its sets.
func aliased(ld int) bool { return ld%512 == 0 && ld > 512 }

// aLd is the distance of copied rows: an odd number of cache lines.
const aLd = KB + 16

// group is how many tiles of a transposed a are copied at a time: together they
// use whole cache lines.
const group = 4

// rowsOf gives the first element and the strides of a tile's rows of a, as
// words. They are read in place, or from a copy where a is stored in another
// way, its rows are aliased, or it is transposed. The tile is number t of its task.
func (j *job) rowsOf(s *scratch, t, row, row1, k0, kb int) (a *float32, as, ak int) {
	rows := min(maxTile, row1-row)
	switch {
	case j.pairs:
		at := row*j.as + 2*k0
		tail := j.odd && k0+kb == j.k()
		if !tail && j.as%2 == 0 && !j.copied(rows) {
			return word(j.aBits, at), j.as / 2, 1
		}
		copyPairs(s.a[:], j.aBits[at:], j.as, rows, kb, tail)
	case j.aKind != KindF32:
		for i := range rows {
			widen(s.a[i*aLd:][:kb], j.aBits[(row+i)*j.as+k0:], j.aKind)
		}
	case j.copied(rows):
		for i := range rows {
			copy(s.a[i*aLd:][:kb], j.a[(row+i)*j.as+k0:])
		}
	case j.ak != 1 && rows == maxTile && vec.Active() > vec.Generic:
		if t%group == 0 {
			packSteps(s.a[:], &j.a[row+k0*j.ak], j.ak, kb, min(group, (row1-row)/maxTile))
		}
		return &s.a[t%group*KB*maxTile], 1, maxTile
	default:
		return &j.a[row*j.as+k0*j.ak], j.as, j.ak
	}
	return &s.a[0], aLd, 1
}

// copied tells whether so many rows of a are aliased and read often enough to be copied.
func (j *job) copied(rows int) bool {
	ld := j.as
	if j.pairs {
		ld /= 2
	}
	return rows >= 4 && j.ak == 1 && aliased(ld)
}

// copyPairs copies rows of kc words; an odd tail's last word gets a zero half.
func copyPairs(dst []float32, src []uint16, ld, rows, kc int, tail bool) {
	n := 2 * kc
	if tail {
		n--
	}
	for i := range rows {
		to := bits16(dst[i*aLd:][:kc])
		copy(to, src[i*ld:][:n])
		if tail {
			to[n] = 0
		}
	}
}
