package emu

import "math/bits"

// rng is the generator of schedules: small, fast, the same everywhere.
// (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators.)
type rng uint64

func newRNG(seed uint64, index int) rng {
	r := rng(seed*0x9e3779b97f4a7c15 + uint64(index)*0xd1342543de82ef95 + 1)
	r.next()
	return r
}

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// intn is in [0, n).
func (r *rng) intn(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}
