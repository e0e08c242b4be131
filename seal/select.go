package seal

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
)

// Candidate is a self-edit with its reward.
type Candidate struct {
	Text  string
	Score Score
}

// SelectOptions is the policy of a ReST-EM round.
type SelectOptions struct {
	Best int // edits kept per passage

	// Draw orders edits of equal reward, the lowest first. Without it the
	// earlier edit comes first, as in the paper's loop.
	Draw func(edit int) uint64

	// SkipTied keeps nothing of a passage whose edits all have the same reward:
	// they say nothing about what helps.
	SkipTied bool
}

// Select returns the indices of the edits to keep, best first. Blank edits are
// passed over in favour of the next best, and do not count as tied.
func Select(edits []Candidate, opt SelectOptions) []int {
	var ranked []int
	for i, e := range edits {
		if strings.TrimSpace(e.Text) != "" {
			ranked = append(ranked, i)
		}
	}
	slices.SortStableFunc(ranked, func(a, b int) int {
		if c := edits[b].Score.Compare(edits[a].Score); c != 0 || opt.Draw == nil {
			return c
		}
		return cmp.Compare(opt.Draw(a), opt.Draw(b))
	})
	if len(ranked) == 0 {
		return nil
	}
	best, worst := ranked[0], ranked[len(ranked)-1]
	if opt.SkipTied && edits[best].Score.Compare(edits[worst].Score) == 0 {
		return nil
	}
	return ranked[:min(max(opt.Best, 0), len(ranked))]
}

// Policies of SelectAll, the values of outer.select.
const (
	SelectBest      = "best"       // the best of each passage, see Select
	SelectAboveMean = "above_mean" // every edit above the mean of its passage
	SelectTopShare  = "top_share"  // the best share of all edits of all passages
)

// SelectAll returns the indices of the edits to keep of every passage, best
// first. opt[i] is for passage i; Best counts under SelectBest alone. Equal
// rewards across passages go to the lower draw, or the earlier passage.
func SelectAll(policy string, passages [][]Candidate, opt []SelectOptions, share float64) [][]int {
	kept := make([][]int, len(passages))
	if policy == SelectBest {
		for i, edits := range passages {
			kept[i] = Select(edits, opt[i])
		}
		return kept
	}
	type place struct {
		passage, edit int
		draw          uint64
	}
	var all []place
	for i, edits := range passages {
		ranked := opt[i]
		ranked.Best = len(edits)
		order := Select(edits, ranked)
		if policy == SelectAboveMean {
			kept[i] = aboveMean(edits, order)
			continue
		}
		for _, e := range order {
			at := place{passage: i, edit: e}
			if opt[i].Draw != nil {
				at.draw = opt[i].Draw(e)
			}
			all = append(all, at)
		}
	}
	slices.SortStableFunc(all, func(a, b place) int {
		return cmp.Or(passages[b.passage][b.edit].Score.Compare(passages[a.passage][a.edit].Score), cmp.Compare(a.draw, b.draw))
	})
	for _, at := range all[:int(math.Ceil(share*float64(len(all))))] {
		kept[at.passage] = append(kept[at.passage], at.edit)
	}
	return kept
}

// aboveMean keeps the edits of order whose accuracy is above the mean of all in
// it, compared exactly.
func aboveMean(edits []Candidate, order []int) []int {
	sum := new(big.Rat)
	accuracy := func(e int) *big.Rat {
		s := edits[e].Score
		if s.Asked == 0 {
			return new(big.Rat)
		}
		return big.NewRat(int64(s.Correct), int64(s.Asked))
	}
	for _, e := range order {
		sum.Add(sum, accuracy(e))
	}
	var kept []int
	for _, e := range order {
		if above := new(big.Rat).Mul(accuracy(e), big.NewRat(int64(len(order)), 1)); above.Cmp(sum) > 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// Record is one example of the outer finetuning.
type Record struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// Records pairs the selected edits, trimmed of white space, with their prompt.
func Records(prompt string, edits []Candidate, selected []int) []Record {
	var records []Record
	for _, i := range selected {
		records = append(records, Record{prompt, strings.TrimSpace(edits[i].Text)})
	}
	return records
}

// AppendJSONL appends records to b, one JSON object per line, byte for byte as
// SEAL writes its files: a blank after colons and commas, and no escapes but
// those that JSON requires.
func AppendJSONL(b []byte, records []Record) []byte {
	for _, r := range records {
		b = append(b, `{"prompt": `...)
		b = appendJSONString(b, r.Prompt)
		b = append(b, `, "completion": `...)
		b = appendJSONString(b, r.Completion)
		b = append(b, "}\n"...)
	}
	return b
}

// appendJSONString exists because encoding/json always escapes U+2028 and U+2029.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
