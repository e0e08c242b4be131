package gemm

// aliased tells whether rows that are ld elements apart push one another out of
// the L1 cache: multiples of 2 KiB fall into two of its sets.
func aliased(ld int) bool { return ld%512 == 0 && ld > 512 }

// rowsOf gives the first element and the strides of a chunk of a's rows, as
// words. They are read in place, or from a copy where a is stored in another
// way or its rows are aliased.
func (j *job) rowsOf(s *scratch, row0, row1, k0, kc int) (a *float32, as, ak int) {
	rows := row1 - row0
	copied := j.copied(rows)
	switch {
	case j.pairs:
		at := row0*j.as + 2*k0
		tail := j.odd && k0+kc == j.k()
		if !tail && j.as%2 == 0 && !copied {
			return word(j.aBits, at), j.as / 2, 1
		}
		s.a = room(s.a, rows*KC)
		if tail || !copyRowsFast(s.a, word(j.aBits, at), 2*j.as, rows, kc) {
			copyPairs(s.a, j.aBits[at:], j.as, rows, kc, tail)
		}
	case j.aKind != KindF32:
		s.a = room(s.a, rows*KC)
		for i := range rows {
			widen(s.a[i*KC:][:kc], j.aBits[(row0+i)*j.as+k0:], j.aKind)
		}
	case copied:
		s.a = room(s.a, rows*KC)
		if copyRowsFast(s.a, &j.a[row0*j.as+k0], 4*j.as, rows, kc) {
			break
		}
		for i := range rows {
			copy(s.a[i*KC:][:kc], j.a[(row0+i)*j.as+k0:])
		}
	default:
		return &j.a[row0*j.as+k0*j.ak], j.as, j.ak
	}
	return &s.a[0], KC, 1
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
		to := bits16(dst[i*KC:][:kc])
		copy(to, src[i*ld:][:n])
		if tail {
			to[n] = 0
		}
	}
}
