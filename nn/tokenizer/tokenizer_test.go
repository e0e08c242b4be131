package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// kinds loads every tokenizer of testdata.
func kinds(t testing.TB) map[string]*Tokenizer {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("testdata", "*", tokenizerFile))
	all := map[string]*Tokenizer{}
	for _, f := range files {
		dir := filepath.Dir(f)
		tok, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(dir)] = tok
	}
	return all
}

func small(t testing.TB) *Tokenizer {
	t.Helper()
	texts := []string{"the river and the mill, the rivers and the mills; it's there", "they'd rather gather further", "0 1 22 333 4444"}
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 300, Special: []string{"<s>", "</s>"}, BOS: "<s>", EOS: "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// texts draws strings with what tokenizers find hard.
func texts() *rapid.Generator[string] {
	part := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{" ", "  ", "\n", "\r\n", "\t", "the", " rather", "'s", "'LL", "ſ", "1234567", "3.14", ".", "use_size", "_", "]\n [", "é", "e\u0301", "\u0323",
			"👩‍👩‍👧", "日本", "▁", "<s>", "</s>", "<mask>", " <lft> ", "<rgt>", "<norm>", "<one>", "\xff", "\xe2\x82", "\xf0\x9f", "\u00a0"}),
	)
	return rapid.Map(rapid.SliceOfN(part, 0, 12), func(p []string) string { return strings.Join(p, "") })
}

// Without a normaliser a byte-level tokenizer loses nothing of well-formed
// text, and its offsets are the tokens' bytes.
func TestRoundTrip(t *testing.T) {
	tok := small(t)
	rapid.Check(t, func(t *rapid.T) {
		text := validUTF8(span{s: texts().Draw(t, "text")}).s
		ids, offsets := tok.EncodeOffsets(text, false)
		if got := tok.Decode(ids, false); got != text {
			t.Fatalf("Decode(Encode(%q)) = %q", text, got)
		}
		at := 0
		for i, o := range offsets {
			if o.Start != at {
				t.Fatalf("%q: token %d starts at %d, the one before ended at %d", text, i, o.Start, at)
			}
			at = o.End
			if raw, ok := fromByteLevel(tok.Token(ids[i])); !tok.IsSpecial(ids[i]) && (!ok || raw != text[o.Start:o.End]) {
				t.Fatalf("%q: token %q has the range %q", text, raw, text[o.Start:o.End])
			}
		}
		if at != len(text) {
			t.Fatalf("%q: offsets end at %d of %d", text, at, len(text))
		}
	})
}

// A stream says what Decode says, never splits a character, and serves again
// after Flush, whatever the ids.
func TestStream(t *testing.T) {
	for name, tok := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				ids := rapid.SliceOf(rapid.Int32Range(-1, int32(tok.VocabSize()))).Draw(t, "ids")
				skip := rapid.Bool().Draw(t, "skip")
				s := tok.NewStream()
				s.SkipSpecial = skip
				want := tok.Decode(ids, skip)
				for range 2 {
					var b strings.Builder
					for _, id := range ids {
						part := s.Push(id)
						if part != strings.ToValidUTF8(part, "") {
							t.Fatalf("Push(%d) = %q splits a character", id, part)
						}
						b.WriteString(part)
					}
					b.WriteString(s.Flush())
					if b.String() != want {
						t.Fatalf("streamed %q, decoded %q", b.String(), want)
					}
				}
			})
		})
	}
}

// Byte-level streams hold back nothing but an unfinished character.
func TestStreamIsPrompt(t *testing.T) {
	tok, err := Bytes(300)
	if err != nil {
		t.Fatal(err)
	}
	s := tok.NewStream()
	for i, step := range []struct {
		id   byte
		want string
	}{
		{'h', "h"}, {0xC3, ""}, {0xA9, "é"}, {0xF0, ""}, {0x9F, ""}, {0x91, ""}, {0x8D, "👍"},
		{0xC3, ""}, {'!', "\uFFFD!"}, {0x80, "\uFFFD"}, {0xED, ""}, {0xA0, "\uFFFD\uFFFD"}, {0xE2, ""},
	} {
		if got := s.Push(int32(step.id)); got != step.want {
			t.Errorf("step %d: Push(%#x) = %q, want %q", i, step.id, got, step.want)
		}
	}
	if got := s.Flush(); got != "\uFFFD" {
		t.Errorf("Flush = %q", got)
	}
}

// Offsets are ordered and inside the text for every kind and any bytes.
func TestOffsets(t *testing.T) {
	for name, tok := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				text := texts().Draw(rt, "text")
				ids, offsets := tok.EncodeOffsets(text, true)
				checkOffsets(t, text, ids, offsets)
				if plain := tok.Encode(text, true); !slices.Equal(plain, ids) {
					rt.Fatalf("Encode and EncodeOffsets differ: %v, %v", plain, ids)
				}
			})
		})
	}
}

func TestOffsetsOfRewrittenText(t *testing.T) {
	all := kinds(t)
	for _, c := range []struct {
		kind, text string
		want       []string // the text of each token
	}{
		{"qwen", "e\u0301x", []string{"e\u0301", "e\u0301", "x"}}, // é composed: two bytes from both
		{"qwen", "é", []string{"\xc3", "\xa9"}},                   // untouched: exact bytes
		{"fallback", "the sea", []string{"the", " ", "se", "a"}},
		{"fallback", " é", []string{" ", "\xc3", "\xa9"}},
		{"llama", "a\xff\xe2\x82b", []string{"", "a", "\xff", "\xff", "\xff", "\xe2\x82", "\xe2\x82", "\xe2\x82", "b"}},
		{"gpt2", "x <mask>", []string{"", "", "x", " <mask>", "", ""}},
	} {
		_, offsets := all[c.kind].EncodeOffsets(c.text, c.kind == "llama" || c.kind == "gpt2")
		var got []string
		for _, o := range offsets {
			got = append(got, c.text[o.Start:o.End])
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, %q: tokens' texts (-want +got):\n%s", c.kind, c.text, diff)
		}
	}
}

// Ill-formed UTF-8 is read as Python's bytes.decode(errors="replace") reads it.
func TestIllFormedUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"\xff": "�", "a\x80b": "a�b", "\xc3": "�", "\xc3(": "�(", "\xe2\x82": "�", "\xe2\x82x": "�x",
		"\xf0\x9f\x91": "�", "\xed\xa0\x80": "���", "\xc0\x80": "��", "\xf4\x90\x80\x80": "����",
		"\xe0\x80\x80": "���", "\xf0\x9f\xe2\x82\xac": "�€", "é€👍": "é€👍",
	} {
		if got := validUTF8(span{s: in}).s; got != want {
			t.Errorf("%q reads %q, want %q", in, got, want)
		}
	}
}

// Scanners equal their patterns in regexp2, on any text.
func TestScanners(t *testing.T) {
	for pattern, next := range scanners {
		expr, err := compilePattern("pattern", pattern)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			text := validUTF8(span{s: texts().Draw(t, "text")}).s
			var want, got []string
			regexpMatches(expr, text, func(i, j int) { want = append(want, text[i:j]) })
			scan(next, span{s: text}, true, func(p span, _ bool) { got = append(got, p.s) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q by %s (-regexp2 +scanner):\n%s", text, pattern, diff)
			}
		})
	}
}

// The two ways to merge agree.
func TestMergeWays(t *testing.T) {
	model := small(t).bpe
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("therivrgamls' ")), 1, scanLimit, scanLimit).Draw(t, "word")
		var a, b symbols
		model.splitBytes(word, &a)
		model.splitBytes(word, &b)
		a.mergeByScan(model.merges)
		b.mergeByHeap(model.merges)
		if diff := cmp.Diff(a.list, b.list, cmp.AllowUnexported(symbol{}, tok{})); diff != "" {
			t.Fatalf("%q (-scan +heap):\n%s", word, diff)
		}
	})
}

func TestLongWord(t *testing.T) {
	tok := small(t)
	word := strings.Repeat("therather", 100_000/9)
	start := time.Now()
	ids := tok.Encode(word, false)
	if got := tok.Decode(ids, false); got != word {
		t.Fatal("the word is not what it was")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("a word of %d bytes took %v", len(word), d)
	}
}

func TestConcurrentEncode(t *testing.T) {
	all := kinds(t)
	text := "The river's 1234 bends, naïve café; <mask> they'd rather\n\n gather 日本語 👩‍👩‍👧"
	var wg sync.WaitGroup
	for name, tok := range all {
		want := tok.Encode(text, true)
		for range 4 {
			wg.Go(func() {
				for i := range 50 {
					tok.Encode(fmt.Sprint(text, i), true)
					if got := tok.Encode(text, true); !slices.Equal(got, want) {
						t.Errorf("%s: %v, want %v", name, got, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestTrain(t *testing.T) {
	tok := small(t)
	if tok.VocabSize() > 300 || tok.VocabSize() < 280 {
		t.Errorf("vocabulary of %d", tok.VocabSize())
	}
	if token, id, ok := tok.EOS(); token != "</s>" || id != 1 || !ok || !tok.IsSpecial(1) {
		t.Errorf("EOS is %q, %d, %v", token, id, ok)
	}
	if _, _, ok := tok.PAD(); ok {
		t.Error("there is a PAD token that nobody named")
	}
	if ids := tok.Encode("a<s>the", false); len(ids) != 3 || ids[1] != 0 {
		t.Errorf("special token not found: %v", ids)
	}
	// The same texts in another order, cut elsewhere at word ends: same result.
	again, err := Train(slices.Values([]string{"0 1 22 333 4444", "they'd rather gather further", "the river and the mill,", " the rivers and the mills; it's there"}),
		TrainOptions{VocabSize: 300, Special: []string{"<s>", "</s>"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tok.tokens, again.tokens); diff != "" {
		t.Errorf("order of texts matters:\n%s", diff)
	}
	// Special tokens in texts are not learned from.
	learned, err := Train(slices.Values([]string{strings.Repeat("<s>", 100)}), TrainOptions{VocabSize: 300, Special: []string{"<s>"}})
	if err != nil || learned.VocabSize() != 257 {
		t.Errorf("learned %d tokens from special tokens, error %v", learned.VocabSize(), err)
	}
	for _, opts := range []TrainOptions{
		{VocabSize: 255}, {VocabSize: 300, Special: []string{"x", ""}}, {VocabSize: 300, Special: []string{"<s>", "<s>"}},
		{VocabSize: 300, Special: []string{"a"}}, {VocabSize: 300, Special: []string{"<s>"}, EOS: "</s>"}, {VocabSize: 300, Pattern: `\w+`},
	} {
		if _, err := Train(slices.Values([]string{"x"}), opts); err == nil {
			t.Errorf("Train accepts %+v", opts)
		}
	}
}

func TestBytes(t *testing.T) {
	tok, err := Bytes(151936)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	if tok, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 151936 {
		t.Errorf("vocabulary size %d", tok.VocabSize())
	}
	text := "é\x00 z<|endoftext|>"
	ids := tok.Encode(text, true)
	if want := []int32{0xC3, 0xA9, 0, ' ', 'z', 256}; !slices.Equal(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if got := tok.Decode(append(ids, 257, 151935), false); got != text {
		t.Errorf("decoded %q", got)
	}
	if _, err := Bytes(256); err == nil {
		t.Error("256 ids hold no special token")
	}
}

func TestSaveLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	tok := small(t)
	for range 2 {
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("folder holds %v, error %v", entries, err)
	}
	file := filepath.Join(dir, tokenizerFile)
	if err := tok.Save(filepath.Join(file, "below")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("saving below a file: %v", err)
	}
}
