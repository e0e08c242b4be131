package num

import "math/bits"

// int128 is a two's complement number, for vmad.
type int128 struct{ hi, lo uint64 }

func big128(a, b int64) int128 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	return int128{hi - uint64(a>>63)&uint64(b) - uint64(b>>63)&uint64(a), lo}
}

func (x int128) not() int128 { return int128{^x.hi, ^x.lo} }

func (x int128) add(y int64) int128 {
	lo, c := bits.Add64(x.lo, uint64(y), 0)
	hi, _ := bits.Add64(x.hi, uint64(y>>63), c)
	return int128{hi, lo}
}

// shr shifts right by fewer than 64.
func (x int128) shr(n uint) int128 {
	if n == 0 {
		return x
	}
	return int128{uint64(int64(x.hi) >> n), x.lo>>n | x.hi<<(64-n)}
}

func (x int128) clamp(lo, hi int64) int64 {
	switch {
	case int64(x.hi) < 0 && (x.hi != ^uint64(0) || int64(x.lo) >= 0 || int64(x.lo) < lo):
		return lo
	case int64(x.hi) < 0:
		return int64(x.lo)
	case x.hi != 0 || x.lo > uint64(hi):
		return hi
	}
	return max(int64(x.lo), lo)
}
