package pretrain

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
)

// ExampleSource trains on finetuning examples, some in every step, in a new
// order every epoch.
type ExampleSource struct {
	examples []nn.Example
	batch    int
	seed     uint64

	epoch int
	order []int // of the epoch; nil: none yet
}

// NewExampleSource returns a source whose steps have batch examples; the last
// step of an epoch has what is left.
func NewExampleSource(examples []nn.Example, batch int, seed uint64) (*ExampleSource, error) {
	switch {
	case len(examples) == 0:
		return nil, errors.New("no examples to train on")
	case batch < 1:
		return nil, fmt.Errorf("batch of %d examples: want 1 or more", batch)
	}
	return &ExampleSource{examples: examples, batch: batch, seed: seed}, nil
}

// Steps is the number of steps in so many epochs.
func (s *ExampleSource) Steps(epochs int) int { return epochs * s.perEpoch() }

func (s *ExampleSource) perEpoch() int { return (len(s.examples) + s.batch - 1) / s.batch }

// Batch implements Source.
func (s *ExampleSource) Batch(step int) ([]Group, error) {
	if epoch := step / s.perEpoch(); s.order == nil || s.epoch != epoch {
		s.epoch, s.order = epoch, FinetuneOrder(s.seed, epoch).Perm(len(s.examples))
	}
	first := step % s.perEpoch() * s.batch
	g := Group{Name: "examples", Weight: 1}
	for _, i := range s.order[first:min(first+s.batch, len(s.order))] {
		e := s.examples[i]
		d := Document{Tokens: e.Tokens, Train: make([]bool, len(e.Tokens))}
		for k := range d.Train {
			d.Train[k] = k >= e.Masked && (e.Train == nil || e.Train[k])
		}
		g.Documents = append(g.Documents, d)
	}
	return []Group{g}, nil
}

// FinetuneOrder draws the order of examples in an epoch.
func FinetuneOrder(seed uint64, epoch int) *philox.Stream {
	return philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeFinetune, Round: epoch})
}
