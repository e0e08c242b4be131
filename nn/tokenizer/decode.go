package tokenizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode returns the text of ids as HF does: with skipSpecial special added
// tokens are left out; unused ids and ids out of range are left out always.
// Ill-formed UTF-8 becomes U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	s := t.NewStream()
	s.SkipSpecial = skipSpecial
	for _, id := range ids {
		s.push(id)
	}
	s.end()
	return s.out.String()
}

// Stream decodes ids one by one. What Push and Flush return, put end to end,
// is what Decode returns; no piece splits a character.
type Stream struct {
	SkipSpecial bool // leave out special tokens; set before the first Push

	t     *Tokenizer
	out   strings.Builder
	first sink
}

// NewStream starts a streaming decode. A Stream serves one sequence and one goroutine.
func (t *Tokenizer) NewStream() *Stream {
	s := &Stream{t: t}
	next := sink{
		text: func(part string) { s.out.WriteString(part) },
		end:  func() {}, flush: func() {},
	}
	if t.cleanup {
		for i := len(cleanups) - 1; i >= 0; i-- {
			next = replaceDecoder{pattern{fixed: cleanups[i][0]}, cleanups[i][1]}.connect(next)
		}
		next = fuseDecoder{}.connect(next)
	}
	for i := len(t.decode) - 1; i >= 0; i-- {
		next = t.decode[i].connect(next)
	}
	s.first = next
	return s
}

// Push takes the next id and returns the text that is now certain, which may be empty.
func (s *Stream) Push(id int32) string {
	s.push(id)
	return s.take()
}

// Flush ends the sequence and returns what was held back. The Stream can then
// start another sequence.
func (s *Stream) Flush() string {
	s.end()
	return s.take()
}

func (s *Stream) push(id int32) {
	if s.SkipSpecial && s.t.special[id] {
		return
	}
	token, ok := s.t.shown[id]
	if !ok {
		token = s.t.Token(id)
	}
	if token != "" {
		s.first.text(token)
		s.first.end()
	}
}

func (s *Stream) end() { s.first.flush() }

func (s *Stream) take() string {
	text := s.out.String()
	s.out.Reset()
	return text
}

// cleanups are HF's clean_up_tokenization, applied one after the other.
var cleanups = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
	{" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

// sink takes a list of tokens whose text may come in parts: text adds to the
// current token, end ends it, flush ends the list.
type sink struct {
	text  func(part string)
	end   func()
	flush func()
}

// decoder is one step from tokens to text, a function from lists of strings to
// lists of strings in HF; here it passes on what is certain as soon as it can.
type decoder interface{ connect(next sink) sink }

// whole makes a sink that gets each token in one part.
func whole(token func(string), flush func()) sink {
	var parts []string
	return sink{
		text: func(part string) { parts = append(parts, part) },
		end: func() {
			if len(parts) == 1 {
				token(parts[0])
			} else {
				token(strings.Join(parts, ""))
			}
			parts = parts[:0]
		},
		flush: flush,
	}
}

// byteLevelDecoder turns tokens into bytes and all of them into one string.
type byteLevelDecoder struct{}

func (byteLevelDecoder) connect(next sink) sink {
	var held []byte // an unfinished character
	pass := func(token string) {
		raw, ok := fromByteLevel(token)
		if !ok {
			raw = token
		}
		held = append(held, raw...)
		n := len(held) - unfinished(held)
		if n > 0 {
			next.text(validUTF8(span{s: string(held[:n])}).s)
			held = held[:copy(held, held[n:])]
		}
	}
	return whole(pass, func() {
		next.text(validUTF8(span{s: string(held)}).s)
		held = held[:0]
		next.end()
		next.flush()
	})
}

// unfinished is the number of bytes at the end of b that more bytes could
// complete to a character.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) || illFormed(string(tail)) < n {
				return 0
			}
			return n
		}
	}
	return 0
}

// byteFallbackDecoder turns runs of <0xNN> into text; a run that is not UTF-8
// gives one U+FFFD for each of its bytes.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) connect(next sink) sink {
	var held []byte
	release := func() {
		if len(held) == 0 {
			return
		}
		if utf8.Valid(held) {
			next.text(string(held))
		} else {
			next.text(strings.Repeat("\uFFFD", len(held)))
		}
		next.end()
		held = held[:0]
	}
	pass := func(token string) {
		if b, ok := byteToken(token); ok {
			held = append(held, b)
			return
		}
		release()
		next.text(token)
		next.end()
	}
	return whole(pass, func() {
		release()
		next.flush()
	})
}

// byteToken reads <0xNN>.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

// fuseDecoder makes one token of all.
type fuseDecoder struct{}

func (fuseDecoder) connect(next sink) sink {
	return sink{text: next.text, end: func() {}, flush: func() {
		next.end()
		next.flush()
	}}
}

// joinDecoder stands for no decoder: tokens with spaces between them.
type joinDecoder struct{}

func (joinDecoder) connect(next sink) sink {
	started := false
	return whole(func(token string) {
		if started {
			token = " " + token
		}
		started = true
		next.text(token)
		next.end()
	}, func() {
		started = false
		next.flush()
	})
}

// replaceDecoder replaces a pattern in each token.
type replaceDecoder struct {
	pattern pattern
	content string
}

func (d replaceDecoder) connect(next sink) sink {
	if d.pattern.expr != nil {
		n := replaceNormalizer(d)
		return whole(func(token string) {
			next.text(n.normalize(span{s: token}).s)
			next.end()
		}, next.flush)
	}
	held := "" // a beginning of the pattern
	return sink{
		text: func(part string) {
			part = held + part
			// Up to here matches are certain: past the last match, the longest
			// tail that could begin another is held back.
			safe := 0
			d.pattern.matches(part, func(_, j int) { safe = j })
			keep := min(len(part)-safe, len(d.pattern.fixed)-1)
			for ; keep > 0 && !strings.HasPrefix(d.pattern.fixed, part[len(part)-keep:]); keep-- {
			}
			held = part[len(part)-keep:]
			if part = part[:len(part)-keep]; part != "" {
				next.text(strings.ReplaceAll(part, d.pattern.fixed, d.content))
			}
		},
		end: func() {
			if held != "" {
				next.text(held)
				held = ""
			}
			next.end()
		},
		flush: next.flush,
	}
}

// stripDecoder takes up to start characters c off the front of each token and
// up to stop off its end.
type stripDecoder struct {
	c           string
	start, stop int
}

func (d stripDecoder) connect(next sink) sink {
	left, body := d.start, false // left: how many may still go
	held := 0                    // characters c at the end
	return sink{
		text: func(part string) {
			for !body && left > 0 && strings.HasPrefix(part, d.c) {
				part = part[len(d.c):]
				left--
			}
			if part == "" {
				return
			}
			body = true
			tail := 0
			for strings.HasSuffix(part[:len(part)-tail*len(d.c)], d.c) && tail < d.stop {
				tail++
			}
			cut := part[:len(part)-tail*len(d.c)]
			if cut == "" { // nothing but c: only the newest stop of them can go
				over := max(0, held+tail-d.stop)
				cut, held = strings.Repeat(d.c, over), held+tail-over
			} else {
				cut, held = strings.Repeat(d.c, held)+cut, tail
			}
			if cut != "" {
				next.text(cut)
			}
		},
		end: func() {
			left, body, held = d.start, false, 0
			next.end()
		},
		flush: next.flush,
	}
}

// metaspaceDecoder writes the replacement as a space, and drops it from the
// first token where the encoder puts one in front.
type metaspaceDecoder struct {
	replacement string
	drop        bool
}

func (d metaspaceDecoder) connect(next sink) sink {
	first := true
	return sink{
		text: func(part string) {
			space := " "
			if first && d.drop {
				space = ""
			}
			next.text(strings.ReplaceAll(part, d.replacement, space))
		},
		end:   func() { first = false; next.end() },
		flush: func() { first = true; next.flush() },
	}
}

var decoderNames = []string{"Sequence", "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Metaspace"}

func parseDecoder(field string, raw json.RawMessage) ([]decoder, error) {
	if isNull(raw) {
		return []decoder{joinDecoder{}}, nil
	}
	kind, err := typeOf(field, raw)
	if err != nil {
		return nil, err
	}
	one := func(d decoder, err error) ([]decoder, error) { return []decoder{d}, err }
	switch kind {
	case "ByteLevel":
		_, err := parseByteLevel(field, raw)
		return one(byteLevelDecoder{}, err)
	case "ByteFallback":
		return one(byteFallbackDecoder{}, component(field, raw, &struct{ Type string }{}))
	case "Fuse":
		return one(fuseDecoder{}, component(field, raw, &struct{ Type string }{}))
	case "Replace":
		p, content, err := parseReplace(field, raw)
		return one(replaceDecoder{p, content}, err)
	case "Strip":
		var c struct {
			Type, Content string
			Start, Stop   uint16
		}
		err := component(field, raw, &c)
		if err == nil && utf8.RuneCountInString(c.Content) != 1 {
			err = fmt.Errorf("%s.content: found %q; expected one character", field, c.Content)
		}
		return one(stripDecoder{c.Content, int(c.Start), int(c.Stop)}, err)
	case "Metaspace":
		m, err := parseMetaspace(field, raw)
		return one(metaspaceDecoder{m.replacement, m.scheme != "never"}, err)
	case "Sequence":
		var c struct {
			Type     string
			Decoders []json.RawMessage
		}
		if err := component(field, raw, &c); err != nil {
			return nil, err
		}
		var all []decoder
		for i, raw := range c.Decoders {
			name := fmt.Sprintf("%s.decoders[%d]", field, i)
			if isNull(raw) {
				return nil, fmt.Errorf("%s: found null; expected a decoder", name)
			}
			d, err := parseDecoder(name, raw)
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		return all, nil
	}
	return nil, unsupported(field+".type", kind, decoderNames...)
}
