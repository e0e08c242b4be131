package philox

// Stream draws numbers one after another from a key. It suits host code that
// consumes a variable number of draws for one identified thing (a world's
// entity, a shuffle); numbers that belong to an index use Block directly.
// A Stream is not safe for concurrent use.
type Stream struct {
	key  Key
	next uint64
	buf  [4]uint32
	left int
}

// NewStream returns the stream of an identity, at its start.
func NewStream(id ID) *Stream { return &Stream{key: id.Key()} }

// Uint32 returns the next word.
func (s *Stream) Uint32() uint32 {
	if s.left == 0 {
		s.buf = Block(s.key, Counter{uint32(s.next), uint32(s.next >> 32)})
		s.next++
		s.left = 4
	}
	s.left--
	return s.buf[3-s.left]
}

// Uint64 returns the next two words.
func (s *Stream) Uint64() uint64 {
	hi := s.Uint32()
	return uint64(hi)<<32 | uint64(s.Uint32())
}

// Float64 returns a number in [0, 1).
func (s *Stream) Float64() float64 {
	hi := s.Uint32()
	return Float64(hi, s.Uint32())
}

// IntN returns a number in [0, n), without bias. It panics unless n > 0.
func (s *Stream) IntN(n int) int {
	if n <= 0 {
		panic("philox: IntN needs n > 0")
	}
	limit := ^uint64(0) - ^uint64(0)%uint64(n)
	for {
		if v := s.Uint64(); v < limit {
			return int(v % uint64(n))
		}
	}
}

// Perm returns a permutation of 0…n-1 (Fisher–Yates).
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.IntN(i + 1)
		p[i] = p[j]
		p[j] = i
	}
	return p
}

// Shuffle permutes n things by swapping pairs.
func (s *Stream) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, s.IntN(i+1))
	}
}
