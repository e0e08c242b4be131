package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// minimal is a valid tokenizer.json; the tests break it.
const minimal = `{
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
  "normalizer": null,
  "pre_tokenizer": null,
  "post_processor": null,
  "decoder": {"type": "Fuse"},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
}`

func TestParseErrors(t *testing.T) {
	tok, err := Parse([]byte(minimal), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode("ab<s>ba", false); fmt.Sprint(ids) != "[2 3 1 0]" {
		t.Fatalf("ids %v", ids)
	}
	split := func(pattern string) string {
		return fmt.Sprintf(`"pre_tokenizer": {"type": "Split", "pattern": {"Regex": %q}, "behavior": "Isolated", "invert": false}`, pattern)
	}
	const norm, pre, post, dec, model, vocab = `"normalizer": null`, `"pre_tokenizer": null`, `"post_processor": null`,
		`{"type": "Fuse"}`, `"type": "BPE"`, `{"a": 0, "b": 1, "ab": 2}`
	for _, c := range []struct{ old, new, want string }{
		{model, `"type": "Unigram"`, `model.type: found "Unigram", which is not supported; supported: BPE`},
		{model, `"type": "BPE", "novel": 1`, `unknown field "novel"`},
		{`"dropout": null`, `"dropout": 0.1`, "model.dropout: found 0.1"},
		{`"dropout": null`, `"end_of_word_suffix": "</w>"`, `model.end_of_word_suffix: found "</w>"`},
		{`"dropout": null`, `"continuing_subword_prefix": "##"`, `model.continuing_subword_prefix: found "##"`},
		{`"unk_token": null`, `"unk_token": "<unk>"`, `model.unk_token: "<unk>" is not in model.vocab`},
		{`"vocab": ` + vocab + `, `, ``, "model.vocab is missing"},
		{`, "merges": [["a", "b"]]`, ``, "model.merges is missing"},
		{vocab, `{}`, "model.vocab is empty"},
		{vocab, `{"a": 0, "b": 0, "ab": 2}`, `model.vocab: id 0 is used twice, by "a" and "b"`},
		{vocab, `{"a": 0, "b": 1, "ab": -2}`, `"ab" has the negative id -2`},
		{vocab, `{"a": 0, "b": 1, "ab": 2000000000}`, "the vocabulary has a hole"},
		{vocab, `{"a": 0, "b": 3, "ab": 2}`, "id 3 is used twice"},
		{`"id": 3, "content": "<s>"`, `"id": 2, "content": "b"`, `added_tokens[0]: "b" has id 2 but model.vocab gives it id 1`},
		{`"id": 3`, `"id": 4`, "the vocabulary has a hole"},
		{`"content": "<s>"`, `"content": ""`, "added_tokens[0]: content is empty"},
		{vocab, `{"a": 0, "b": "1", "ab": 2}`, `expected int32, found string`},
		{`["a", "b"]`, `["a", "x"]`, `model.merges[0]: "a" + "x": token "x" is not in model.vocab`},
		{`["a", "b"]`, `["b", "a"]`, `token "ba" is not in model.vocab`},
		{`["a", "b"]`, `"a b c"`, `merge "a b c": expected two tokens`},
		{`["a", "b"]`, `["a"]`, `expected ["left", "right"]`},
		{norm, `"normalizer": {"type": "BertNormalizer"}`, `normalizer.type: found "BertNormalizer", which is not supported; supported: Sequence, NFC`},
		{norm, `"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]}`, `normalizer.normalizers[1].type: found "Precompiled"`},
		{norm, `"normalizer": {"kind": "NFC"}`, `normalizer: field "type" is missing`},
		{norm, `"normalizer": {"type": "Replace", "content": ""}`, "normalizer.pattern is missing"},
		{norm, `"normalizer": 3`, `normalizer: expected an object`},
		{pre, `"pre_tokenizer": {"type": "UnicodeScripts"}`, `pre_tokenizer.type: found "UnicodeScripts"`},
		{pre, `"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Sideways", "invert": false}`, `pre_tokenizer.behavior: found "Sideways"`},
		{pre, split(`\w+`), `\w at byte 0 is not supported`},
		{pre, split(`[a&&b]`), `nested sets and && at byte 2`},
		{pre, split(`(?<x>a)`), `group "(?<x" at byte 0 is not supported`},
		{pre, split(`a++`), `is not supported`},
		{pre, split(`(`), `is not supported`},
		{pre, `"pre_tokenizer": {"type": "Metaspace", "replacement": "__"}`, `pre_tokenizer.replacement: found "__"; expected one character`},
		{pre, `"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "WhitespaceSplit"}]}`, "only supported as the last one"},
		{post, `"post_processor": {"type": "BertProcessing"}`, `post_processor.type: found "BertProcessing"`},
		{post, `"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}], "pair": [], "special_tokens": {}}`, `post_processor.single[0]: "<x>" is not in special_tokens`},
		{post, `"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {"x": {"id": "x", "ids": [9], "tokens": ["x"]}}}`, "id 9 is out of range; the vocabulary has 4 tokens"},
		{dec, `{"type": "CTC"}`, `decoder.type: found "CTC"`},
		{dec, `{"type": "Sequence", "decoders": [{"type": "Strip", "content": "xy", "start": 1, "stop": 0}]}`, `decoder.decoders[0].content: found "xy"; expected one character`},
		{`"version": "1.0"`, `"version": "1.0", "novel": {}`, `unknown field "novel"`},
		{"]]}\n}", "]]}", "the file is truncated"},
		{norm, `"normalizer": nil`, "malformed JSON at line 4, byte "},
		{"]]}\n}", "]]}\n} x", "unexpected data after the JSON value at line 9"},
	} {
		broken := strings.Replace(minimal, c.old, c.new, 1)
		if broken == minimal {
			t.Fatalf("%q does not occur", c.old)
		}
		_, err := Parse([]byte(broken), nil)
		if err == nil || !strings.HasPrefix(err.Error(), "tokenizer.json: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s\n got: %v\nwant: tokenizer.json: …%s…", c.old, c.new, err, c.want)
		}
	}
	for in, want := range map[string]string{
		`{"bos_token": 3}`:                                    "tokenizer_config.json: ",
		`{"bos_token": "<s>"`:                                 "malformed JSON at line 1, byte 19",
		`{"chat_template": 3}`:                                "chat_template: expected a string or a list",
		`{"chat_template": [{"name":1}]}`:                     "chat_template: expected a string or a list",
		`{"chat_template": [{}]}`:                             "chat_template[0]: expected \"name\" and \"template\"",
		`{"added_tokens_decoder": {"9": {"content": "<x>"}}}`: `"<x>" has id 9, but it is not in tokenizer.json, whose next free id is 4`,
		`{"added_tokens_decoder": {"2": {"content": "<s>"}}}`: `"<s>" has id 2 but tokenizer.json gives it id 3`,
		`{"selkie_vocab_size": 3}`:                            "selkie_vocab_size: found 3; expected 4",
	} {
		if _, err := Parse([]byte(minimal), []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", in, err, want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, tokenizerFile)) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, tokenizerFile), []byte(minimal[:200]), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("half a file: %v", err)
	}
}

// Added tokens of the configuration alone are added, and saved with the others.
func TestAddedTokensDecoder(t *testing.T) {
	tok, err := Parse([]byte(minimal), []byte(`{"added_tokens_decoder": {"5": {"content": "<y>"}, "4": {"content": "<x>", "special": true}, "3": {"content": "<s>", "special": true}}}`))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []*Tokenizer{tok, again} {
		ids := tok.Encode("a<x>b<y>", false)
		if fmt.Sprint(ids) != "[0 4 1 5]" || tok.Decode(ids, true) != "ab<y>" || tok.VocabSize() != 6 {
			t.Errorf("ids %v, decoded %q, %d tokens", ids, tok.Decode(ids, true), tok.VocabSize())
		}
	}
}

// Older files name no model type and write merges as strings.
func TestOlderStyle(t *testing.T) {
	old := strings.NewReplacer(`"type": "BPE", `, ``, `["a", "b"]`, `"a b"`).Replace(minimal)
	tok, err := Parse([]byte(old), []byte(`{"eos_token": {"__type": "AddedToken", "content": "<s>"}, "pad_token": null, "unk_token": "<unk>"}`))
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode("ab", false); len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
	if token, id, ok := tok.EOS(); token != "<s>" || id != 3 || !ok {
		t.Errorf("EOS %q, %d, %v", token, id, ok)
	}
	if token, id, ok := tok.UNK(); token != "<unk>" || id != -1 || ok {
		t.Errorf("a token without an id: %q, %d, %v", token, id, ok)
	}
	if tok.Token(-1)+tok.Token(4) != "" || tok.Token(2) != "ab" {
		t.Error("Token is wrong")
	}
	if got := tok.Decode([]int32{-5, 2, 99, 3}, true); got != "ab" {
		t.Errorf("decoded %q", got)
	}
}

// FuzzParse wants an error or a tokenizer that works, never a panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal), []byte(`{"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}`))
	for _, part := range [][2]string{
		{`"normalizer": null`, `"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "b"}]}`},
		{`"normalizer": null`, `"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": true, "strip_right": true}]}`},
		{`"pre_tokenizer": null`, `"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "MergedWithNext", "invert": true}, {"type": "ByteLevel"}]}`},
		{`"pre_tokenizer": null`, `"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}`},
		{`"post_processor": null`, `"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"x": {"id": "x", "ids": [3], "tokens": ["x"]}}}`},
		{`{"type": "Fuse"}`, `{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "a"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 2}]}`},
		{`"unk_token": null`, `"unk_token": "a", "fuse_unk": true, "byte_fallback": true, "ignore_merges": true`},
		{`"lstrip": false, "rstrip": false, "normalized": false`, `"lstrip": true, "rstrip": true, "normalized": true`},
	} {
		f.Add([]byte(strings.Replace(minimal, part[0], part[1], 1)), []byte(`{"bos_token": "<s>"}`))
	}
	f.Fuzz(func(t *testing.T, file, config []byte) {
		tok, err := Parse(file, config)
		if err != nil {
			return
		}
		text := "the river's  12\n<s> é\xff👍"
		ids, offsets := tok.EncodeOffsets(text, true)
		checkOffsets(t, text, ids, offsets)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d of a vocabulary of %d", id, tok.VocabSize())
			}
		}
		tok.Decode(ids, true)
		if _, err := Parse(tok.marshal(), tok.config.raw); err != nil {
			t.Fatalf("what was saved does not load: %v", err)
		}
	})
}
