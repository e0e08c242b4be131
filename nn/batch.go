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

// packed is a batch of sequences end to end. Its arrays serve step after step.
type packed struct {
	ids, targets, positions, starts []int32
	weights                         []float32
	runs                            []rowRun
	longest                         int
}

// pack replaces the batch by seqs.
func (p *packed) pack(seqs []Sequence) {
	*p = packed{
		ids: p.ids[:0], targets: p.targets[:0], positions: p.positions[:0], starts: append(p.starts[:0], 0), weights: p.weights[:0],
		runs: p.runs[:0],
	}
	for _, s := range seqs {
		first := len(p.ids)
		for i := range s.Tokens {
			p.positions = append(p.positions, int32(i))
		}
		p.ids = append(p.ids, s.Tokens...)
		p.targets = append(p.targets, s.Targets...)
		p.weights = append(p.weights, s.Weights...)
		p.starts = append(p.starts, int32(len(p.ids)))
		p.runs = append(p.runs, rowRun{start: first, end: len(p.ids), adapter: s.Adapter})
		p.longest = max(p.longest, len(s.Tokens))
	}
}

// begin makes the batch that of the tape and returns its token ids.
func (p *packed) begin(tp *tensor.Tape) (ids *tensor.Tensor) {
	rows := len(p.ids)
	tp.Seqs = tensor.Sequences{
		Starts: tp.FromInt32s(p.starts, len(p.starts)), Positions: tp.FromInt32s(p.positions, rows), N: len(p.runs), Rows: rows,
	}
	return tp.FromInt32s(p.ids, rows)
}

// microBatch returns how many of seqs, one at least, make a run of at most
// maxTokens tokens; 0 means no bound. Cutting between sequences changes no bit of
// any result.
func microBatch(seqs []Sequence, maxTokens int) int {
	tokens := 0
	for i, s := range seqs {
		if tokens += len(s.Tokens); i > 0 && maxTokens > 0 && tokens > maxTokens {
			return i
		}
	}
	return len(seqs)
}
