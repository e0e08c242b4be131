// Package philox is the project's only source of randomness: the counter-based
// generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A draw is a function of a key and a counter, so the same
// run gives the same result in any order, on any number of workers and after
// any restart. It imports nothing of the project.
package philox

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Key selects one of 2^64 independent streams.
type Key [2]uint32

// Counter is a position within a stream.
type Counter [4]uint32

// The constants of a round: multipliers of the counter, and what is added to the key.
const (
	Mul0, Mul1   = 0xD2511F53, 0xCD9E8D57
	Weyl0, Weyl1 = 0x9E3779B9, 0xBB67AE85
	Rounds       = 10
)

// Block returns the four 32-bit words at counter c of the stream k.
func Block(k Key, c Counter) [4]uint32 {
	for i := 0; i < Rounds; i++ {
		hi0, lo0 := bits.Mul32(Mul0, c[0])
		hi1, lo1 := bits.Mul32(Mul1, c[2])
		c = Counter{hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0}
		k[0] += Weyl0
		k[1] += Weyl1
	}
	return c
}

// ID names what a stream is for. Fields that do not apply stay zero.
type ID struct {
	Seed    uint64  // the run's seed
	Purpose Purpose // what is drawn
	Round   int     // outer iteration
	Item    string  // item id, see seal.Article
	Edit    int     // index of the self-edit of the item
	Inner   int     // index of the inner seed
}

// Key hashes the identity: the first 64 bits of SHA-256 over its fields, each
// of fixed width, the item last.
func (id ID) Key() Key {
	var b [40]byte
	binary.LittleEndian.PutUint64(b[0:], id.Seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(id.Purpose))
	binary.LittleEndian.PutUint64(b[16:], uint64(id.Round))
	binary.LittleEndian.PutUint64(b[24:], uint64(id.Edit))
	binary.LittleEndian.PutUint64(b[32:], uint64(id.Inner))
	sum := sha256.Sum256(append(b[:], id.Item...))
	return Key{binary.LittleEndian.Uint32(sum[0:]), binary.LittleEndian.Uint32(sum[4:])}
}

// Float32 maps a word to [0, 1): its upper 24 bits times 2^-24.
func Float32(w uint32) float32 { return float32(w>>8) * (1.0 / (1 << 24)) }

// Float64 maps two words to [0, 1): their upper 53 bits times 2^-53.
func Float64(hi, lo uint32) float64 {
	return float64((uint64(hi)<<32|uint64(lo))>>11) * (1.0 / (1 << 53))
}
