package nn

import (
	"fmt"

	"github.com/selkie-ml/selkie/tensor"
)

// NoAdapter in a sequence means the base model alone.
const NoAdapter = -1

// Sequence is one text of a training batch. Targets are already shifted:
// Targets[i] is the token that position i should predict, −1 for none.
type Sequence struct {
	Tokens  []int32
	Targets []int32
	Weights []float32 // of each target's loss
	Adapter int       // index in the pool, or NoAdapter
}

// NextToken returns the sequence in which position i predicts token i+1, with
// one weight for all targets. The first masked targets (those of tokens
// 1…masked−1) and the last position have none.
func NextToken(tokens []int32, masked int, weight float32, adapter int) Sequence {
	s := Sequence{Tokens: tokens, Targets: make([]int32, len(tokens)), Weights: make([]float32, len(tokens)), Adapter: adapter}
	for i := range tokens {
		s.Targets[i] = -1
		if i+1 < len(tokens) && i+1 >= masked {
			s.Targets[i], s.Weights[i] = tokens[i+1], weight
		}
	}
	return s
}

// NumTargets returns how many positions have a target.
func (s Sequence) NumTargets() int {
	n := 0
	for _, t := range s.Targets {
		if t >= 0 {
			n++
		}
	}
	return n
}

func (s Sequence) check(c Config, adapters int) error {
	switch {
	case len(s.Tokens) == 0:
		return fmt.Errorf("sequence has no tokens")
	case len(s.Targets) != len(s.Tokens) || len(s.Weights) != len(s.Tokens):
		return fmt.Errorf("sequence has %d tokens, %d targets and %d weights: want as many of each", len(s.Tokens), len(s.Targets), len(s.Weights))
	case len(s.Tokens) > c.MaxPositions:
		return fmt.Errorf("sequence of %d tokens: the model's context is %d (max_position_embeddings)", len(s.Tokens), c.MaxPositions)
	case s.Adapter < NoAdapter || s.Adapter >= adapters:
		return fmt.Errorf("sequence names adapter %d: there are %d", s.Adapter, adapters)
	}
	for i, t := range s.Tokens {
		if t < 0 || int(t) >= c.VocabSize {
			return fmt.Errorf("token %d at position %d is outside the vocabulary of %d: is this the model's own tokenizer?", t, i, c.VocabSize)
		}
	}
	for i, t := range s.Targets {
		if int(t) >= c.VocabSize {
			return fmt.Errorf("target %d at position %d is outside the vocabulary of %d: is this the model's own tokenizer?", t, i, c.VocabSize)
		}
	}
	return nil
}

// packed is a batch of sequences end to end on the device.
type packed struct {
	ids, targets, weights *tensor.Tensor
	runs                  []rowRun
	rows                  int
}

// pack puts sequences on a tape's device and sets the tape's Seqs.
func pack(tp *tensor.Tape, seqs []Sequence) (*packed, error) {
	p := &packed{}
	var ids, targets, positions []int32
	var weights []float32
	starts := []int32{0}
	for _, s := range seqs {
		for i := range s.Tokens {
			positions = append(positions, int32(i))
		}
		ids = append(ids, s.Tokens...)
		targets = append(targets, s.Targets...)
		weights = append(weights, s.Weights...)
		p.runs = append(p.runs, rowRun{start: p.rows, end: p.rows + len(s.Tokens), adapter: s.Adapter})
		p.rows += len(s.Tokens)
		starts = append(starts, int32(p.rows))
	}
	dev := tp.Device()
	var err error
	put := func(data []int32) *tensor.Tensor {
		t, e := dev.FromInt32s(data, len(data))
		if e != nil {
			err = e
			return nil
		}
		return tp.Own(t)
	}
	p.ids, p.targets = put(ids), put(targets)
	tp.Seqs = tensor.Sequences{Starts: put(starts), Positions: put(positions), N: len(seqs), Rows: p.rows}
	w, e := dev.FromFloat32s(weights, len(weights))
	if e != nil {
		return nil, e
	}
	p.weights = tp.Own(w)
	return p, err
}

// microBatches cuts sequences into runs of at most maxTokens tokens, a longer
// sequence alone. Cutting between sequences changes no bit of any result.
func microBatches(seqs []Sequence, maxTokens int) [][]Sequence {
	var out [][]Sequence
	start, tokens := 0, 0
	for i, s := range seqs {
		if i > start && maxTokens > 0 && tokens+len(s.Tokens) > maxTokens {
			out = append(out, seqs[start:i])
			start, tokens = i, 0
		}
		tokens += len(s.Tokens)
	}
	if start < len(seqs) {
		out = append(out, seqs[start:])
	}
	return out
}
