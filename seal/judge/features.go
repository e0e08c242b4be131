package judge

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// text is one of an answer's three texts, cut up for comparison.
type text struct {
	raw     string
	lower   string
	words   []string        // normalised, see normalWords
	stems   []string        // of words
	set     map[string]bool // of words and stems
	numbers []float64
	names   []string   // normalised words that begin with a capital inside a sentence
	pairs   [][]uint64 // letter pairs of words, once asked for
}

func newText(raw string) text {
	t := text{raw: raw, lower: strings.ToLower(raw), words: normalWords(raw), set: map[string]bool{}}
	for _, w := range t.words {
		s := stemWord(w)
		t.stems = append(t.stems, s)
		t.set[w], t.set[s] = true, true
		if x, err := strconv.ParseFloat(w, 64); err == nil && isNumber(w) {
			t.numbers = append(t.numbers, x)
		}
	}
	t.names = capitalised(raw)
	return t
}

// has tells whether the text has a word, perhaps with another ending.
func (t text) has(word string) bool { return t.set[word] || t.set[stemWord(word)] }

var capital = regexp.MustCompile(`\p{Lu}[\p{L}\p{M}'’]*`)

// capitalised lists the words with a capital that do not open a sentence.
func capitalised(raw string) []string {
	var out []string
	for _, loc := range capital.FindAllStringIndex(raw, -1) {
		before := strings.TrimRight(raw[:loc[0]], " \"'“‘(")
		if before == "" || strings.HasSuffix(before, ".") || strings.HasSuffix(before, "\n") {
			continue
		}
		out = append(out, normalWords(raw[loc[0]:loc[1]])...)
	}
	return out
}

var endings = []string{"ization", "isation", "ations", "ation", "ingly", "edly", "ities", "ments", "ment", "ness", "ions", "ion", "ings", "ing", "ally", "ies", "ity", "ers", "ors", "ans", "ese", "ed", "es", "er", "or", "an", "ly", "al", "ic", "s", "e", "y"}

// stemWord cuts endings off: coarser than a linguist's stemmer, and without exceptions.
func stemWord(w string) string {
	if isNumber(w) {
		return w
	}
	for _, e := range endings {
		if len(w)-len(e) >= 4 && strings.HasSuffix(w, e) {
			return w[:len(w)-len(e)]
		}
	}
	return w
}

func anyOf(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

var hedges = []string{"not specified", "not mentioned", "not provided", "unknown", "i don't know", "i do not know", "not clear", "unclear", "no information", "not explicitly",
	"cannot be determined", "does not specify", "not specify", "doesn't specify", "not stated", "not given", "debate", "not known", "not available", "insufficient", "i'm sorry", "could you", "please provide"}

var negations = map[string]bool{"not": true, "no": true, "never": true, "none": true, "neither": true, "nor": true, "without": true, "isnt": true, "wasnt": true, "didnt": true,
	"doesnt": true, "dont": true, "cannot": true, "cant": true, "nobody": true, "nothing": true, "wont": true, "arent": true, "werent": true, "unable": true, "failed": true, "lack": true, "lacked": true}

// opposites are pairs of words of which one in the gold answer and the other in
// the answer tell a contradiction.
var opposites = func() map[string][]string {
	m := map[string][]string{}
	for _, pair := range strings.Fields(`north/south east/west northern/southern eastern/western more/less more/fewer higher/lower high/low increase/decrease increased/decreased
		before/after first/last early/late left/right up/down male/female men/women black/white old/new major/minor positive/negative internal/external public/private
		largest/smallest highest/lowest most/least above/below inside/outside hot/cold strong/weak stronger/weaker faster/slower longer/shorter yes/no true/false
		catholic/protestant democrat/republican democratic/republican federal/state king/queen father/mother son/daughter brother/sister husband/wife win/lose won/lost
		million/billion thousand/million hundred/thousand day/night summer/winter spring/autumn land/sea import/export rural/urban rich/poor`) {
		a, b, _ := strings.Cut(pair, "/")
		m[a], m[b] = append(m[a], b), append(m[b], a)
	}
	return m
}()

// orderedShare is the largest part of the gold's words found in order within a
// window of the answer, as a share.
func orderedShare(gold, answer []string) float64 {
	if len(gold) == 0 || len(answer) == 0 {
		return 0
	}
	window := len(gold) + 3
	best := 0
	for start := 0; start < len(answer); start++ {
		part := answer[start:min(start+window, len(answer))]
		best = max(best, commonInOrder(gold, part))
		if best == len(gold) || start+window >= len(answer) {
			break
		}
	}
	return float64(best) / float64(len(gold))
}

// commonInOrder is the length of the longest common subsequence.
func commonInOrder(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			above := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

// grams returns the letters of words in overlapping pieces of n.
func grams(words []string, n int) map[string]bool {
	set := map[string]bool{}
	for _, w := range words {
		r := []rune(" " + w + " ")
		for i := 0; i+n <= len(r); i++ {
			set[string(r[i:i+n])] = true
		}
	}
	return set
}

func shareIn(a, b map[string]bool) float64 {
	if len(a) == 0 {
		return 0
	}
	n := 0
	for k := range a {
		if b[k] {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

// pairs returns the letter pairs of a word with its ends, sorted, each once.
func pairs(word string) []uint64 {
	out := make([]uint64, 0, len(word)+1)
	last := ' '
	for _, r := range word {
		out = append(out, uint64(last)<<32|uint64(r))
		last = r
	}
	out = append(out, uint64(last)<<32|uint64(' '))
	slices.Sort(out)
	return slices.Compact(out)
}

// bestLetters is how well a word fits its best counterpart in the text: the
// share of common letter pairs (Dice).
func (t *text) bestLetters(word string) float64 {
	if t.pairs == nil {
		t.pairs = make([][]uint64, len(t.words))
		for i, w := range t.words {
			t.pairs[i] = pairs(w)
		}
	}
	own, best := pairs(word), 0.0
	for _, other := range t.pairs {
		n, i, j := 0, 0, 0
		for i < len(own) && j < len(other) {
			switch {
			case own[i] < other[j]:
				i++
			case own[i] > other[j]:
				j++
			default:
				n, i, j = n+1, i+1, j+1
			}
		}
		best = max(best, 2*float64(n)/float64(len(own)+len(other)))
	}
	return best
}

var sentenceEnd = regexp.MustCompile(`[.!?]\s+|\n`)

func firstSentence(s string) string {
	s = strings.TrimSpace(s)
	if loc := sentenceEnd.FindStringIndex(s); loc != nil && loc[0] > 3 {
		return s[:loc[0]]
	}
	return s
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// initials is a name's first letters: "United Nations" gives "un".
func initials(words []string) string {
	var b strings.Builder
	for _, w := range words {
		if !functionWords[w] {
			r := []rune(w)
			b.WriteRune(r[0])
		}
	}
	return b.String()
}

var listSeparator = regexp.MustCompile(`,|;|\band\b|\bor\b|/`)

// builder names features as it collects them.
type builder struct {
	names      []string
	directions []int8
	values     []float32
	naming     bool
}

// rise adds a feature with which the odds of a yes may only rise, fall one with
// which they may only fall. Knowing this much keeps the trees from learning single
// questions by heart: of features without a direction every set tried made verdicts on
// new questions worse.
func (b *builder) rise(name string, v float64) { b.add(name, v, 1) }
func (b *builder) fall(name string, v float64) { b.add(name, v, -1) }

func (b *builder) add(name string, v float64, direction int8) {
	if b.naming {
		b.names, b.directions = append(b.names, name), append(b.directions, direction)
	}
	if math.IsNaN(v) {
		v = -1
	}
	b.values = append(b.values, float32(v))
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// features describes an answer by numbers.
func features(a Answer) []float32 {
	var b builder
	describe(&b, a)
	return b.values
}

// featureNames are the names of what features returns, and their directions.
func featureNames() (names []string, directions []int8) {
	b := builder{naming: true}
	describe(&b, Answer{})
	return b.names, b.directions
}

func describe(b *builder, a Answer) {
	question := a.Question
	if rest, ok := strings.CutPrefix(question, "Topic: "); ok {
		if _, after, ok := strings.Cut(rest, "\n"); ok {
			question = after
		}
	}
	q, g, ans := newText(question), newText(a.Gold), newText(a.Answer)
	first := newText(firstSentence(a.Answer))

	// How much of the gold answer is there.
	content := without(g.words, func(w string) bool { return functionWords[w] })
	telling := without(content, func(w string) bool { return q.has(w) })
	for _, part := range []struct {
		name  string
		words []string
	}{{"all", g.words}, {"content", content}, {"telling", telling}} {
		exact, stemmed, early := 0, 0, 0
		letters, worst := 0.0, 1.0
		for _, w := range part.words {
			best := 1.0
			if ans.set[w] {
				exact++
			}
			if ans.has(w) {
				stemmed++
			} else {
				best = ans.bestLetters(w)
			}
			letters += best
			worst = min(worst, best)
			if first.has(w) {
				early++
			}
		}
		n := len(part.words)
		b.rise(part.name+": exact", ratio(exact, n))
		b.rise(part.name+": stems", ratio(stemmed, n))
		b.fall(part.name+": missing", float64(n-stemmed))
		b.rise(part.name+": in first sentence", ratio(early, n))
		b.rise(part.name+": letters", letters/math.Max(float64(n), 1))
		b.rise(part.name+": worst letters", worst)
	}
	gold, said := strings.Join(g.words, " "), " "+strings.Join(ans.words, " ")+" "
	place := strings.Index(said, " "+gold+" ")
	b.rise("contained", flag(place >= 0 && gold != ""))
	contentIn := strings.Index(" "+strings.Join(without(ans.stems, func(w string) bool { return functionWords[w] }), " ")+" ", " "+strings.Join(stemAll(content), " ")+" ")
	b.rise("content contained", flag(contentIn >= 0))
	b.rise("equal", flag(strings.TrimSpace(said) == gold))
	b.rise("in order", orderedShare(g.stems, ans.stems))
	b.rise("content in order", orderedShare(stemAll(content), without(ans.stems, func(w string) bool { return functionWords[w] })))
	b.rise("trigrams", shareIn(grams(g.words, 3), grams(ans.words, 3)))
	b.rise("telling 4-grams", shareIn(grams(telling, 4), grams(ans.words, 4)))
	if len(content) > 0 {
		b.rise("head", flag(ans.has(content[len(content)-1])))
		b.rise("first", flag(ans.has(content[0])))
	} else {
		b.rise("head", -1)
		b.rise("first", -1)
	}
	m := matchWords(a)
	b.rise("match", flag(m.numbers && 3*m.found >= 2*m.telling))
	b.rise("match share", ratio(m.found, m.telling))
	acronym := initials(g.words)
	b.rise("acronym", flag(len(acronym) > 1 && ans.set[acronym] || len(g.words) == 1 && len(g.words[0]) > 1 && strings.Contains(initialsOf(ans.words), g.words[0])))
	items := listSeparator.Split(g.lower, -1)
	covered, parts := 0, 0
	for _, item := range items {
		words := without(normalWords(item), func(w string) bool { return functionWords[w] })
		if len(words) == 0 {
			continue
		}
		parts++
		n := 0
		for _, w := range words {
			if ans.has(w) {
				n++
			}
		}
		if 2*n >= len(words) {
			covered++
		}
	}
	b.rise("parts covered", ratio(covered, parts))

	describeRest(b, q, g, ans, first)
}

// describeRest has what does not follow from the gold answer's words alone.
func describeRest(b *builder, q, g, ans, first text) {
	// Numbers.
	present, near, other := 0, math.Inf(1), 0
	for _, x := range g.numbers {
		if slices.Contains(ans.numbers, x) {
			present++
		}
		for _, y := range ans.numbers {
			near = min(near, math.Abs(x-y)/max(math.Abs(x), 1e-9))
		}
	}
	for _, y := range ans.numbers {
		if !slices.Contains(g.numbers, y) && !slices.Contains(q.numbers, y) {
			other++
		}
	}
	b.rise("numbers present", ratio(present, len(g.numbers)))
	b.fall("numbers missing", float64(len(g.numbers)-present))
	b.fall("nearest number", min(near, 10))
	b.fall("other numbers", float64(other))
	firstOther := 0
	for _, y := range first.numbers {
		if !slices.Contains(g.numbers, y) && !slices.Contains(q.numbers, y) {
			firstOther++
		}
	}
	b.fall("other numbers early", float64(firstOther))

	// Names: those of the gold, and others.
	foreign, missing := 0, 0
	for _, w := range ans.names {
		if !g.has(w) && !q.has(w) {
			foreign++
		}
	}
	for _, loc := range capital.FindAllString(g.raw, -1) {
		for _, w := range normalWords(loc) {
			if !functionWords[w] && !ans.has(w) {
				missing++
			}
		}
	}
	b.fall("foreign names", float64(foreign))
	b.fall("gold names missing", float64(missing))

	// What else the answer says before it comes to the gold answer.
	before := 0
	for _, w := range ans.words {
		if g.has(w) && !q.has(w) && !functionWords[w] {
			break
		}
		if !functionWords[w] && !q.has(w) && !g.has(w) {
			before++
		}
	}
	b.fall("foreign before", math.Log1p(float64(before)))

	// Contradiction and evasion.
	count := func(t text) (n int) {
		for _, w := range t.words {
			if negations[w] {
				n++
			}
		}
		return n
	}
	b.fall("negation differs", flag((count(first) > 0) != (count(g) > 0 || count(q) > 0)))
	against := 0
	for _, w := range g.words {
		for _, o := range opposites[w] {
			if ans.set[o] && !q.set[o] && !g.set[o] {
				against++
			}
		}
	}
	b.fall("opposites", float64(against))
	b.fall("hedges", flag(anyOf(ans.lower, hedges...)))
}

func stemAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = stemWord(w)
	}
	return out
}

func initialsOf(words []string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteRune([]rune(w)[0])
	}
	return b.String()
}
