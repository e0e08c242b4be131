package tokenizer

import (
	"container/heap"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"unicode/utf8"
)

// tok is a token and the number of bytes of the word it covers.
type tok struct{ id, n int32 }

type pair struct{ left, right int32 }

// merge says at which rank a pair is joined and into what. Lower ranks go first.
type merge struct{ rank, id int32 }

// bpe is the merge model. Words are raw bytes where bytes is set (the
// byte-level alphabet exists only in files), characters otherwise.
type bpe struct {
	bytes        bool
	byteIDs      [256]int32 // bytes: the token of a byte; else <0xNN>; -1: none
	words        map[string]int32
	merges       map[pair]merge
	ignoreMerges bool
	byteFallback bool
	fuseUnk      bool
	unk          int32 // -1: none; unknown characters vanish, as in HF

	cache *wordCache
}

// maxCached is the longest word, in bytes, worth remembering.
const maxCached = 48

// wordCache remembers recent words in a table without chains: a newcomer takes
// the place of what was there, so memory is bounded and reads take no lock.
type wordCache struct {
	seed  maphash.Seed
	slots [1 << 14]atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	toks []tok
}

// encode appends the tokens of one word. scratch is reused between words.
func (m *bpe) encode(dst []tok, word string, scratch *symbols) []tok {
	if len(word) == 0 {
		return dst
	}
	if len(word) > maxCached {
		return m.merge(dst, word, scratch)
	}
	slot := &m.cache.slots[maphash.String(m.cache.seed, word)%uint64(len(m.cache.slots))]
	if c := slot.Load(); c != nil && c.word == word {
		return append(dst, c.toks...)
	}
	start := len(dst)
	dst = m.merge(dst, word, scratch)
	slot.Store(&cachedWord{word: string([]byte(word)), toks: append([]tok(nil), dst[start:]...)})
	return dst
}

func (m *bpe) merge(dst []tok, word string, s *symbols) []tok {
	if m.ignoreMerges {
		if id, ok := m.words[word]; ok {
			return append(dst, tok{id, int32(len(word))})
		}
	}
	s.reset()
	if m.bytes {
		m.splitBytes(word, s)
	} else {
		m.splitRunes(word, s)
	}
	if len(s.list) <= scanLimit {
		s.mergeByScan(m.merges)
	} else {
		s.mergeByHeap(m.merges)
	}
	if len(s.list) > 0 {
		for i := int32(0); i >= 0; i = s.list[i].next {
			dst = append(dst, s.list[i].tok)
		}
	}
	return dst
}

func (m *bpe) splitBytes(word string, s *symbols) {
	u := unknown{m: m}
	for i := range len(word) {
		if id := m.byteIDs[word[i]]; id >= 0 {
			u.flush(s)
			s.add(id, 1)
		} else {
			u.add(s, 1)
		}
	}
	u.flush(s)
}

func (m *bpe) splitRunes(word string, s *symbols) {
	u := unknown{m: m}
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		char := word[i : i+n]
		i += n
		if id, ok := m.words[char]; ok {
			u.flush(s)
			s.add(id, int32(n))
			continue
		}
		if m.byteFallback && m.hasBytes(char) {
			// An unknown run before it stays pending, as in HF.
			for j := range len(char) {
				s.add(m.byteIDs[char[j]], 1)
			}
			continue
		}
		u.add(s, int32(n))
	}
	u.flush(s)
}

func (m *bpe) hasBytes(char string) bool {
	for i := range len(char) {
		if m.byteIDs[char[i]] < 0 {
			return false
		}
	}
	return true
}

// unknown holds back unknown characters so that a run can become one token.
type unknown struct {
	m *bpe
	n int32
}

func (u *unknown) add(s *symbols, n int32) {
	if u.m.unk < 0 {
		return
	}
	if !u.m.fuseUnk {
		u.flush(s)
	}
	u.n += n
}

func (u *unknown) flush(s *symbols) {
	if u.n > 0 {
		s.add(u.m.unk, u.n)
		u.n = 0
	}
}

// symbols is a word on its way from characters to tokens: a doubly linked list
// in a slice. A symbol that was merged into its left neighbour has n < 0.
type symbols struct {
	list  []symbol
	queue mergeQueue
}

type symbol struct {
	tok
	prev, next int32
}

func (s *symbols) reset() { s.list, s.queue = s.list[:0], s.queue[:0] }

func (s *symbols) add(id, n int32) {
	i := int32(len(s.list))
	if i > 0 {
		s.list[i-1].next = i
	}
	s.list = append(s.list, symbol{tok{id, n}, i - 1, -1})
}

// join merges symbol i with its right neighbour into id.
func (s *symbols) join(i, id int32) {
	a := &s.list[i]
	b := &s.list[a.next]
	a.id, a.n, a.next = id, a.n+b.n, b.next
	b.n = -1
	if a.next >= 0 {
		s.list[a.next].prev = i
	}
}

// scanLimit is the length up to which looking through the whole word for the
// best pair beats keeping a heap.
const scanLimit = 24

// mergeByScan joins the pair of lowest rank, leftmost first, until none is left.
func (s *symbols) mergeByScan(merges map[pair]merge) {
	const none = int32(1<<31 - 1)
	if len(s.list) < 2 {
		return
	}
	var ranks [scanLimit]merge // of the pair starting at each symbol
	at := func(i int32) merge {
		if next := s.list[i].next; next >= 0 {
			if m, ok := merges[pair{s.list[i].id, s.list[next].id}]; ok {
				return m
			}
		}
		return merge{rank: none}
	}
	for i := range s.list {
		ranks[i] = at(int32(i))
	}
	for {
		best, rank := int32(-1), none
		for i := int32(0); i >= 0; i = s.list[i].next {
			if ranks[i].rank < rank {
				best, rank = i, ranks[i].rank
			}
		}
		if best < 0 {
			return
		}
		s.join(best, ranks[best].id)
		ranks[best] = at(best)
		if p := s.list[best].prev; p >= 0 {
			ranks[p] = at(p)
		}
	}
}

// candidate is a possible merge; it is stale when the pair at pos no longer makes id.
type candidate struct {
	merge
	pos int32
}

type mergeQueue []candidate

func (q mergeQueue) Len() int { return len(q) }
func (q mergeQueue) Less(i, j int) bool {
	if q[i].rank != q[j].rank {
		return q[i].rank < q[j].rank
	}
	return q[i].pos < q[j].pos
}
func (q mergeQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *mergeQueue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *mergeQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// mergeByHeap does what mergeByScan does in O(n log n).
func (s *symbols) mergeByHeap(merges map[pair]merge) {
	lookup := func(i int32) (merge, bool) {
		next := s.list[i].next
		if next < 0 {
			return merge{}, false
		}
		m, ok := merges[pair{s.list[i].id, s.list[next].id}]
		return m, ok
	}
	for i := range s.list {
		if m, ok := lookup(int32(i)); ok {
			s.queue = append(s.queue, candidate{m, int32(i)})
		}
	}
	heap.Init(&s.queue)
	for len(s.queue) > 0 {
		c := heap.Pop(&s.queue).(candidate)
		if s.list[c.pos].n < 0 {
			continue
		}
		if m, ok := lookup(c.pos); !ok || m.id != c.id {
			continue
		}
		s.join(c.pos, c.id)
		if m, ok := lookup(c.pos); ok {
			heap.Push(&s.queue, candidate{m, c.pos})
		}
		if p := s.list[c.pos].prev; p >= 0 {
			if m, ok := lookup(p); ok {
				heap.Push(&s.queue, candidate{m, p})
			}
		}
	}
}

// newBPE builds the model's tables from the file's vocabulary and merges.
func newBPE(f *bpeJSON, bytes bool) (bpe, error) {
	m := bpe{
		bytes: bytes, words: f.Vocab, ignoreMerges: f.IgnoreMerges,
		byteFallback: f.ByteFallback, fuseUnk: f.FuseUnk, unk: -1,
		merges: make(map[pair]merge, len(f.Merges)),
		cache:  &wordCache{seed: maphash.MakeSeed()},
	}
	if f.UnkToken != nil {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return m, fmt.Errorf("model.unk_token: %q is not in model.vocab", *f.UnkToken)
		}
		m.unk = id
	}
	for rank, p := range f.Merges {
		left, okLeft := f.Vocab[p[0]]
		right, okRight := f.Vocab[p[1]]
		joined, okJoined := f.Vocab[p[0]+p[1]]
		for i, ok := range []bool{okLeft, okRight, okJoined} {
			if !ok {
				return m, fmt.Errorf("model.merges[%d]: %q + %q: token %q is not in model.vocab",
					rank, p[0], p[1], []string{p[0], p[1], p[0] + p[1]}[i])
			}
		}
		m.merges[pair{left, right}] = merge{int32(rank), joined}
	}
	for b := range 256 {
		name := fmt.Sprintf("<0x%02X>", b)
		if bytes {
			name = string(byteRune[b])
		}
		id, ok := f.Vocab[name]
		if !ok {
			id = -1
		}
		m.byteIDs[b] = id
		if bytes && m.byteFallback && id < 0 {
			return m, fmt.Errorf("model.byte_fallback: found true with a ByteLevel pre-tokenizer whose character %q is not in model.vocab; "+
				"fallback from the byte-level alphabet is not supported", name)
		}
	}
	if bytes {
		m.words = nil
		if m.ignoreMerges {
			m.words = make(map[string]int32, len(f.Vocab))
			for token, id := range f.Vocab {
				if raw, ok := fromByteLevel(token); ok {
					m.words[raw] = id
				}
			}
		}
	}
	return m, nil
}
