package tokenizer

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// TrainOptions are the settings of Train.
type TrainOptions struct {
	// VocabSize is the number of ids wanted: special tokens, 256 bytes, merges.
	// Fewer come out when the texts have no more pairs.
	VocabSize int
	// MinFrequency is how often a pair must occur to be merged; 0 counts as 1.
	MinFrequency int
	// Special tokens get the first ids, in this order. Where one is written in a
	// text it separates words and is not learned from.
	Special []string
	// BOS, EOS and PAD name special tokens for tokenizer_config.json; they may be empty.
	BOS, EOS, PAD string
	// Pattern cuts texts into words: PatternLlama3 if empty.
	Pattern string
}

// Train learns a byte-level BPE vocabulary (Sennrich et al. 2016): again and
// again the most frequent pair of neighbouring tokens becomes a token. Of equally
// frequent pairs the one with the lower left id goes first, then the lower right
// id, so the result depends on the texts' words and their counts alone. It is
// what Hugging Face's BpeTrainer makes of the same words.
//
// Ids: the special tokens, the 256 bytes in the order of their characters in
// the byte-level alphabet, the merges.
func Train(texts iter.Seq[string], opts TrainOptions) (*Tokenizer, error) {
	if opts.Pattern == "" {
		opts.Pattern = PatternLlama3
	}
	base := len(opts.Special) + 256
	if opts.VocabSize < base || opts.VocabSize > maxVocab {
		return nil, fmt.Errorf("training a tokenizer: vocabulary size %d; expected %d (256 bytes and %d special tokens) to %d",
			opts.VocabSize, base, len(opts.Special), maxVocab)
	}
	f, err := newFile(opts.Pattern, opts.Special)
	if err != nil {
		return nil, fmt.Errorf("training a tokenizer: %w", err)
	}
	words, err := countWords(f, texts)
	if err != nil {
		return nil, fmt.Errorf("training a tokenizer: %w", err)
	}
	tr := newTrainer(f, words)
	for len(f.tokens) < opts.VocabSize {
		best, ok := tr.best(max(1, opts.MinFrequency))
		if !ok {
			break
		}
		joined := f.tokens[best.left] + f.tokens[best.right]
		f.merges = append(f.merges, mergeText{f.tokens[best.left], f.tokens[best.right]})
		tr.merge(best, f.add(joined))
	}
	return f.tokenizer(opts.BOS, opts.EOS, opts.PAD, 0)
}

// Bytes returns a byte-level tokenizer without merges: the id of a byte is its
// value, special tokens follow ("<|endoftext|>", which is also BOS, EOS and
// PAD, if none are given; else the first is BOS and the last EOS and PAD).
// VocabSize reports vocabSize; ids beyond are unused.
func Bytes(vocabSize int, special ...string) (*Tokenizer, error) {
	if len(special) == 0 {
		special = []string{"<|endoftext|>"}
	}
	if least := 256 + len(special); vocabSize < least || vocabSize > maxVocab {
		return nil, fmt.Errorf("byte tokenizer: vocabulary size %d; expected %d (256 bytes and %d special tokens) to %d",
			vocabSize, least, len(special), maxVocab)
	}
	f := &vocabFile{ids: map[string]int32{}, pattern: PatternLlama3, special: special}
	for b := range 256 {
		f.add(string(byteRune[b]))
	}
	for _, s := range special {
		if err := f.addSpecial(s); err != nil {
			return nil, fmt.Errorf("byte tokenizer: %w", err)
		}
	}
	return f.tokenizer(special[0], special[len(special)-1], special[len(special)-1], vocabSize)
}

// vocabFile is a tokenizer.json in the making.
type vocabFile struct {
	tokens  []string
	ids     map[string]int32
	merges  []mergeText
	pattern string
	special []string
}

func newFile(pattern string, special []string) (*vocabFile, error) {
	f := &vocabFile{ids: map[string]int32{}, pattern: pattern, special: special}
	for _, s := range special {
		if err := f.addSpecial(s); err != nil {
			return nil, err
		}
	}
	for _, r := range slices.Sorted(slices.Values(byteRune[:])) {
		f.add(string(r))
	}
	return f, nil
}

// add returns the token's id, a new one if it is new.
func (f *vocabFile) add(token string) int32 {
	if id, ok := f.ids[token]; ok {
		return id
	}
	id := int32(len(f.tokens))
	f.ids[token] = id
	f.tokens = append(f.tokens, token)
	return id
}

func (f *vocabFile) addSpecial(token string) error {
	if token == "" {
		return errors.New("a special token is empty")
	}
	if _, ok := f.ids[token]; ok {
		return fmt.Errorf("special token %q is given twice", token)
	}
	if _, ok := runeByte[[]rune(token)[0]]; ok && len([]rune(token)) == 1 {
		return fmt.Errorf("special token %q is a character of the byte-level alphabet; use a longer one", token)
	}
	f.add(token)
	return nil
}

// tokenizer writes the files and reads them back: what is trained is what is saved.
func (f *vocabFile) tokenizer(bos, eos, pad string, vocabSize int) (*Tokenizer, error) {
	byteLevel := json.RawMessage(`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}`)
	split, err := json.Marshal(map[string]any{
		"type": "Sequence",
		"pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": f.pattern}, "behavior": "Isolated", "invert": false},
			byteLevel,
		},
	})
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{file: fileParts{preTokenizer: split, postProcessor: byteLevel, decoder: byteLevel, vocab: f.tokens, merges: f.merges}}
	for _, s := range f.special {
		t.added = append(t.added, AddedToken{ID: f.ids[s], Content: s, Special: true})
	}
	cfg := map[string]any{
		"tokenizer_class":              "PreTrainedTokenizerFast",
		"clean_up_tokenization_spaces": false,
	}
	for key, token := range map[string]string{"bos_token": bos, "eos_token": eos, "pad_token": pad} {
		if token == "" {
			continue
		}
		if !slices.Contains(f.special, token) {
			return nil, fmt.Errorf("%s %q is not among the special tokens %q", key, token, f.special)
		}
		cfg[key] = token
	}
	if vocabSize > 0 {
		cfg["selkie_vocab_size"] = vocabSize
	}
	rawConfig, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return nil, err
	}
	return Parse(t.marshal(), append(rawConfig, '\n'))
}

// countWords cuts texts into words as the finished tokenizer will.
func countWords(f *vocabFile, texts iter.Seq[string]) (map[string]int, error) {
	next := scanners[f.pattern]
	var pre preTokenizer = scanPre{next}
	if next == nil {
		expr, err := compilePattern("pattern", f.pattern)
		if err != nil {
			return nil, err
		}
		pre = splitPre{find: pattern{expr: expr}.matches, behaviour: "Isolated"}
	}
	var special matcher
	for _, s := range f.special {
		special.add(s, AddedToken{Content: s})
	}
	words := map[string]int{}
	for text := range texts {
		text = validUTF8(span{s: text}).s
		special.cut(text, func(token *AddedToken, i, j int) {
			if token == nil {
				pre.split(span{s: text[i:j]}, false, func(p span, _ bool) {
					if n, ok := words[p.s]; ok {
						words[p.s] = n + 1
					} else {
						words[string([]byte(p.s))] = 1 // do not keep the text alive
					}
				})
			}
		})
	}
	return words, nil
}

// trainer keeps the count of every pair up to date while pairs are merged.
type trainer struct {
	words [][]int32 // distinct words, as tokens
	freq  []int     // how often each occurs
	count map[pair]int
	where map[pair]map[int32]struct{} // words that hold or held the pair
	queue pairQueue
}

func newTrainer(f *vocabFile, words map[string]int) *trainer {
	tr := &trainer{count: map[pair]int{}, where: map[pair]map[int32]struct{}{}}
	for i, w := range slices.Sorted(maps.Keys(words)) {
		toks := make([]int32, len(w))
		for k := range len(w) {
			toks[k] = f.ids[string(byteRune[w[k]])]
		}
		tr.words = append(tr.words, toks)
		tr.freq = append(tr.freq, words[w])
		for k := 1; k < len(toks); k++ {
			tr.change(pair{toks[k-1], toks[k]}, words[w], int32(i))
		}
	}
	for p, n := range tr.count {
		tr.queue = append(tr.queue, pairCount{p, n})
	}
	heap.Init(&tr.queue)
	return tr
}

// change adds n to a pair's count for its occurrence in word i.
func (tr *trainer) change(p pair, n int, i int32) {
	tr.count[p] += n
	if n > 0 {
		if tr.where[p] == nil {
			tr.where[p] = map[int32]struct{}{}
		}
		tr.where[p][i] = struct{}{}
	}
}

// best takes the pair to merge next off the queue.
func (tr *trainer) best(least int) (pair, bool) {
	for len(tr.queue) > 0 {
		top := heap.Pop(&tr.queue).(pairCount)
		n := tr.count[top.pair]
		if n != top.n { // stale: put it back in its place
			if n >= least {
				heap.Push(&tr.queue, pairCount{top.pair, n})
			}
			continue
		}
		return top.pair, n >= least
	}
	return pair{}, false
}

// merge replaces a pair by id in every word.
func (tr *trainer) merge(p pair, id int32) {
	grown := map[pair]struct{}{}
	for i := range tr.where[p] {
		w, n := tr.words[i], tr.freq[i]
		out := w[:0]
		for k := 0; k < len(w); k++ {
			if k+1 == len(w) || w[k] != p.left || w[k+1] != p.right {
				out = append(out, w[k])
				continue
			}
			if len(out) > 0 {
				before := out[len(out)-1]
				tr.change(pair{before, p.left}, -n, i)
				tr.change(pair{before, id}, n, i)
				grown[pair{before, id}] = struct{}{}
			}
			if k+2 < len(w) {
				tr.change(pair{p.right, w[k+2]}, -n, i)
				tr.change(pair{id, w[k+2]}, n, i)
				grown[pair{id, w[k+2]}] = struct{}{}
			}
			out = append(out, id)
			k++
		}
		tr.words[i] = out
	}
	delete(tr.count, p)
	delete(tr.where, p)
	for q := range grown {
		if n := tr.count[q]; n > 0 {
			heap.Push(&tr.queue, pairCount{q, n})
		}
	}
}

// pairCount is a queued pair with its count when it was queued.
type pairCount struct {
	pair
	n int
}

type pairQueue []pairCount

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.n != b.n {
		return a.n > b.n
	}
	if a.left != b.left {
		return a.left < b.left
	}
	return a.right < b.right
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(pairCount)) }
func (q *pairQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
