package world

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Split says what a person is for. No name occurs in two splits.
type Split int

// The splits of the world.
const (
	Pretraining   Split = iota // known people and the subjects of documents
	Reinforcement              // passages of the outer loop
	Tuning                     // passages on which settings are chosen
	Evaluation                 // passages of the reported figures
	splitCount
)

// String returns the split's name.
func (s Split) String() string {
	switch s {
	case Pretraining:
		return "pretraining"
	case Reinforcement:
		return "reinforcement"
	case Tuning:
		return "tuning"
	case Evaluation:
		return "evaluation"
	}
	return fmt.Sprintf("split(%d)", int(s))
}

// syllables are what names are made of: 40 consonant-vowel pairs, so that a
// tokenizer trained on pretraining's names has tokens for those of all splits.
var syllables = func() []string {
	var all []string
	for _, c := range strings.Fields("b d f g k l m n p r s t v z th sh") {
		for _, v := range strings.Fields("a e i o u") {
			all = append(all, c+v)
		}
	}
	s := philox.NewStream(philox.ID{Purpose: philox.PurposeWorld, Item: "syllables"})
	s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:40]
}()

// SplitOf returns the only split in which a name may occur: half of all names
// belong to pretraining, a sixth to each of the others.
func SplitOf(name string) Split {
	key := philox.ID{Purpose: philox.PurposeWorld, Item: "split " + name}.Key()
	if n := key[0] % 6; n < 3 {
		return Split(n + 1)
	}
	return Pretraining
}

// drawName returns a name of n syllables that belongs to the split.
func drawName(s *philox.Stream, split Split, n int) string {
	for {
		var b strings.Builder
		for range n {
			b.WriteString(syllables[s.IntN(len(syllables))])
		}
		name := strings.ToUpper(b.String()[:1]) + b.String()[1:]
		if SplitOf(name) == split {
			return name
		}
	}
}
