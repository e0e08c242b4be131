package tokenizer

import "sync"

// Encode returns the ids of text. Added tokens written in the text are
// recognised, special ones too, as in HF. With addSpecial the post-processor's
// template (such as a leading BOS) is applied.
//
// Ill-formed UTF-8 is read as U+FFFD, one per maximal ill-formed part.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	e := t.encoder(false)
	defer e.release()
	e.run(text, addSpecial)
	return append([]int32{}, e.ids...)
}

// EncodeOffsets is Encode with the bytes of text that each token stands for.
// Tokens of byte-level vocabularies have exact bytes, which may split a
// character; where a normaliser rewrote the text they have the bytes it was
// rewritten from. Tokens that stand for no text (BOS, a prepended ▁) have an
// empty range where they are inserted.
func (t *Tokenizer) EncodeOffsets(text string, addSpecial bool) ([]int32, []Offset) {
	e := t.encoder(true)
	defer e.release()
	e.run(text, addSpecial)
	return append([]int32{}, e.ids...), append([]Offset{}, e.offsets...)
}

// encoder is the state of one Encode.
type encoder struct {
	t       *Tokenizer
	want    bool // offsets
	ids     []int32
	offsets []Offset
	toks    []tok
	symbols symbols
	steps   []func(span, bool) // steps[k] runs pre-tokenizer k; the last is the model
	text    string
}

var encoders sync.Pool

func (t *Tokenizer) encoder(offsets bool) *encoder {
	e, ok := encoders.Get().(*encoder)
	if !ok {
		e = new(encoder)
	}
	e.want = offsets
	if e.t != t {
		e.t = t
		e.steps = make([]func(span, bool), len(t.pre)+1)
		e.steps[len(t.pre)] = func(p span, _ bool) { e.word(p) }
		for k, pre := range t.pre {
			next := e.steps[k+1:]
			e.steps[k] = func(p span, first bool) { pre.split(p, first, next[0]) }
		}
	}
	return e
}

// keepScratch bounds the memory an idle encoder holds, in tokens.
const keepScratch = 1 << 16

func (e *encoder) release() {
	e.text = ""
	e.ids, e.offsets = e.ids[:0], e.offsets[:0]
	if cap(e.ids) <= keepScratch && cap(e.symbols.list) <= keepScratch {
		encoders.Put(e)
	}
}

func (e *encoder) run(text string, addSpecial bool) {
	t := e.t
	if addSpecial {
		for _, id := range t.post.before {
			e.emit(id, Offset{})
		}
	}
	if p := validUTF8(span{s: text}); p.s != "" {
		t.raw.cut(p.s, func(token *AddedToken, i, j int) {
			if token != nil {
				e.emit(token.ID, p.origin(i, j))
				return
			}
			q := p.slice(i, j)
			if t.norm != nil {
				q = t.norm.normalize(q)
			}
			t.normalised.cut(q.s, func(token *AddedToken, k, l int) {
				if token != nil {
					e.emit(token.ID, q.origin(k, l))
					return
				}
				e.steps[0](q.slice(k, l), i == 0 && k == 0)
			})
		})
	}
	if addSpecial {
		for _, id := range t.post.after {
			e.emit(id, Offset{len(text), len(text)})
		}
	}
}

// word gives one word to the model.
func (e *encoder) word(p span) {
	e.toks = e.t.bpe.encode(e.toks[:0], p.s, &e.symbols)
	at := 0
	for _, k := range e.toks {
		e.ids = append(e.ids, k.id)
		if e.want {
			e.offsets = append(e.offsets, p.origin(at, at+int(k.n)))
			at += int(k.n)
		}
	}
}

func (e *encoder) emit(id int32, o Offset) {
	e.ids = append(e.ids, id)
	if e.want {
		e.offsets = append(e.offsets, o)
	}
}

// normalize applies the normaliser alone.
func (t *Tokenizer) normalize(s string) string {
	if t.norm == nil {
		return s
	}
	return t.norm.normalize(span{s: s}).s
}
