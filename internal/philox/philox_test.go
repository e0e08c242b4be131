package philox

import "testing"

// The known answers of Random123's kat_vectors for philox4x32-10.
func TestKnownAnswers(t *testing.T) {
	ones := uint32(0xffffffff)
	for _, c := range []struct {
		counter Counter
		key     Key
		want    [4]uint32
	}{
		{Counter{}, Key{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{Counter{ones, ones, ones, ones}, Key{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{Counter{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, Key{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Block(c.key, c.counter); got != c.want {
			t.Errorf("Block(%x, %x) = %x, want %x", c.key, c.counter, got, c.want)
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := map[Key]ID{}
	for _, id := range []ID{
		{}, {Seed: 1}, {Purpose: 1}, {Round: 1}, {Edit: 1}, {Inner: 1}, {Item: "1"}, {Item: "\x00"},
	} {
		k := id.Key()
		if other, ok := seen[k]; ok {
			t.Errorf("%+v and %+v share a key", id, other)
		}
		seen[k] = id
	}
}

func TestPermIsFair(t *testing.T) {
	s := NewStream(ID{Purpose: PurposeTest})
	counts := map[[3]int]int{}
	for i := 0; i < 6000; i++ {
		counts[[3]int(s.Perm(3))]++
	}
	for p, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("permutation %v came %d times of 6000", p, n)
		}
	}
	if len(counts) != 6 {
		t.Errorf("%d of 6 permutations seen", len(counts))
	}
}

func TestIntNRange(t *testing.T) {
	s := NewStream(ID{Purpose: PurposeTest, Edit: 1})
	for n := 1; n < 50; n++ {
		for i := 0; i < 100; i++ {
			if v := s.IntN(n); v < 0 || v >= n {
				t.Fatalf("IntN(%d) = %d", n, v)
			}
		}
	}
}
