package nn

import "github.com/selkie-ml/selkie/internal/philox"

// Key selects one of 2^64 independent streams of random numbers. Equal keys give
// equal results; any two numbers make one.
type Key = philox.Key

// Shuffled returns what a Job's Shuffle draws with: an order of examples for
// every epoch that depends on seed and the epoch alone.
func Shuffled(seed uint64) func(epoch int) *philox.Stream {
	return func(epoch int) *philox.Stream {
		return philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeFinetune, Round: epoch})
	}
}
