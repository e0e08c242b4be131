package seal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

var loaded sync.Map

// loadTokenizer loads each of the shared tokenizers once: they take a second.
func loadTokenizer(t *testing.T, name string) *tokenizer.Tokenizer {
	t.Helper()
	load, _ := loaded.LoadOrStore(name, sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
		return tokenizer.Load(filepath.Join(testdata.Dir(t), "tokenizers", name))
	}))
	tok, err := load.(func() (*tokenizer.Tokenizer, error))()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

type endMaskCase struct {
	Tokenizer string
	Limit     int    `json:"max_seq_length"`
	Substring string `json:"end_mask_substring"`
	Sequences []string
	Quirks    []string
	Expected  []struct {
		IDs          []int32 `json:"input_ids"`
		Masked       int     `json:"n_masked"`
		Padding      int     `json:"n_padding"`
		PaddingID    *int32  `json:"padding_input_id"`
		PaddingLabel *int32  `json:"padding_label"`
		ByCharacters int     `json:"masked_by_character_reading"`
	}
}

func TestDataEndMask(t *testing.T) {
	eachCase(t, "end_mask", func(c endMaskCase) check {
		tok := loadTokenizer(t, c.Tokenizer)
		var result check
		for i, text := range c.Sequences {
			want := c.Expected[i]
			end := EndOfText{ID: -1}
			if want.PaddingLabel != nil { // the reference trains on its padding, which is the end-of-text
				end.ID = *want.PaddingLabel
			}
			got := SequenceTokens(tok, text, c.Substring, c.Limit, end)
			result.exact += diff(withEnd(want.IDs, want.Masked, want.Padding > 0, end.ID), got)
			masked := want.ByCharacters
			if slices.Contains(c.Quirks, "end-mask-truncated") && want.Padding == 0 {
				// Masked whole where the substring ends beyond the cut.
				if i := strings.Index(text, c.Substring); i >= 0 && len(tok.Encode(text[:i+len(c.Substring)], true)) > c.Limit {
					masked = len(want.IDs)
				}
			}
			result.decided += diff(withEnd(want.IDs, masked, want.Padding > 0, end.ID), got)
		}
		return result
	})
}

func withEnd(ids []int32, masked int, ended bool, end int32) Tokens {
	if ended {
		ids = append(slices.Clone(ids), end)
	}
	return Tokens{ids, masked}
}

type sftCase struct {
	Tokenizer string
	EOS       string `json:"eos_token"`
	Records   []Record
	Expected  struct {
		Rows []struct {
			IDs    []int32  `json:"input_ids"`
			Masked int      `json:"n_masked"`
			Quirks []string `json:"row_quirks"`
		}
	}
}

func TestDataRecordTokens(t *testing.T) {
	rows, exactRows := 0, 0
	eachCase(t, "sft_tokens", func(c sftCase) check {
		tok := loadTokenizer(t, c.Tokenizer)
		id, ok := tok.TokenID(c.EOS)
		if !ok {
			t.Fatalf("%s is no token of %s", c.EOS, c.Tokenizer)
		}
		var result check
		for i, r := range c.Records {
			want := c.Expected.Rows[i]
			got := RecordTokens(tok, r.Prompt, r.Completion, EndOfText{c.EOS, id})
			d := diff(Tokens{want.IDs, want.Masked}, got)
			result.exact += d
			rows++
			if d == "" {
				exactRows++
			}
			if d != "" && len(want.Quirks) == 0 {
				result.decided += fmt.Sprintf("record %d has no quirk: %s", i, d)
				continue
			}
			ids := want.IDs
			if slices.Contains(want.Quirks, "sft-longest-loses-eos") && ids[len(ids)-1] != id {
				ids = append(slices.Clone(ids), id)
			}
			if slices.Contains(want.Quirks, "sft-mask-boundary") {
				// Other tokens at the seam, the same text, and the prompt's own tokens masked.
				if a, b := tok.Decode(ids, false), tok.Decode(got.IDs, false); a != b {
					result.decided += fmt.Sprintf("record %d: text %q, want %q\n", i, b, a)
				}
				result.decided += diff(tok.Encode(r.Prompt, true), got.IDs[:got.Masked])
				continue
			}
			result.decided += diff(Tokens{ids, want.Masked}, got)
		}
		return result
	})
	t.Logf("sft_tokens: %d records, %d exactly as the reference", rows, exactRows)
}

// letterTokens gives every character an id, after a beginning-of-text.
type letterTokens struct{}

func (letterTokens) EncodeOffsets(text string, addSpecial bool) (ids []int32, offsets []tokenizer.Offset) {
	if addSpecial {
		ids, offsets = append(ids, 1), append(offsets, tokenizer.Offset{})
	}
	for i, r := range text {
		ids, offsets = append(ids, r), append(offsets, tokenizer.Offset{Start: i, End: i + len(string(r))})
	}
	return ids, offsets
}

func (l letterTokens) Encode(text string, addSpecial bool) []int32 {
	ids, _ := l.EncodeOffsets(text, addSpecial)
	return ids
}

func TestSequenceTokens(t *testing.T) {
	end := EndOfText{ID: 2}
	for _, c := range []struct {
		text, endMask string
		limit         int
		want          Tokens
	}{
		{"ab", "", 0, Tokens{[]int32{1, 'a', 'b', 2}, 0}},
		{"ab", "x", 9, Tokens{[]int32{1, 'a', 'b', 2}, 0}},
		{"aba", "a", 9, Tokens{[]int32{1, 'a', 'b', 'a', 2}, 2}},
		{"aé", "é", 9, Tokens{[]int32{1, 'a', 'é', 2}, 3}},
		{"ab", "", 3, Tokens{[]int32{1, 'a', 'b'}, 0}},  // no room for the end
		{"abc", "", 3, Tokens{[]int32{1, 'a', 'b'}, 0}}, // cut
		{"abcd", "bc", 3, Tokens{[]int32{1, 'a', 'b'}, 3}},
		{"abcd", "d", 3, Tokens{[]int32{1, 'a', 'b'}, 3}},
		{"abcd", "a", 3, Tokens{[]int32{1, 'a', 'b'}, 2}},
		{"", "a", 3, Tokens{[]int32{1, 2}, 0}},
	} {
		if d := diff(c.want, SequenceTokens(letterTokens{}, c.text, c.endMask, c.limit, end)); d != "" {
			t.Errorf("%q after %q, limit %d: (-want +got)\n%s", c.text, c.endMask, c.limit, d)
		}
	}
}

func TestRecordTokens(t *testing.T) {
	for _, c := range []struct {
		prompt, completion string
		want               Tokens
	}{
		{"p", "c", Tokens{[]int32{1, 'p', 'c', 2}, 2}},
		{"p", "c$", Tokens{[]int32{1, 'p', 'c', 2}, 2}},
		{"p", "", Tokens{[]int32{1, 'p', 2}, 2}},
		{"", "c", Tokens{[]int32{1, 'c', 2}, 1}},
	} {
		if d := diff(c.want, RecordTokens(letterTokens{}, c.prompt, c.completion, EndOfText{"$", 2})); d != "" {
			t.Errorf("%q + %q: (-want +got)\n%s", c.prompt, c.completion, d)
		}
	}
}
