package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vectorsDir is testdata, or a folder made by make_vectors.py --random --out.
func vectorsDir() string {
	if dir := os.Getenv("SELKIE_TOKENIZER_VECTORS"); dir != "" {
		return dir
	}
	return "testdata"
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// vectorKinds are the folders with a tokenizer.json.
func vectorKinds(t testing.TB) []string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(vectorsDir(), "*", tokenizerFile))
	if len(files) < 10 {
		t.Fatalf("%s: found %d tokenizers, expected at least 10", vectorsDir(), len(files))
	}
	var kinds []string
	for _, f := range files {
		kinds = append(kinds, filepath.Base(filepath.Dir(f)))
	}
	return kinds
}

// TestVectors compares every kind of tokenizer with Hugging Face's tokenizers:
// ids, decoded text, streams, and all of it again after Save and Load.
func TestVectors(t *testing.T) {
	var texts []string
	readJSON(t, filepath.Join(vectorsDir(), "texts.json"), &texts)
	for _, kind := range vectorKinds(t) {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(vectorsDir(), kind)
			tok, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			saved := t.TempDir()
			if err := tok.Save(saved); err != nil {
				t.Fatal(err)
			}
			again, err := Load(saved)
			if err != nil {
				t.Fatal(err)
			}
			cases := readLines[struct {
				IDs         []int32         `json:"ids"`
				Special     []int32         `json:"ids_with_special"`
				Decoded     json.RawMessage `json:"decoded"` // null where HF crashed
				DecodedSkip json.RawMessage `json:"decoded_skip_special"`
			}](t, filepath.Join(dir, "cases.jsonl"))
			for i, c := range cases {
				decoded := ""
				for _, tok := range []*Tokenizer{tok, again} {
					if i < len(texts) {
						decoded = texts[i]
						special := c.Special
						if special == nil {
							special = c.IDs
						}
						textCase{Text: texts[i], IDs: c.IDs, Special: special}.checkEncode(t, tok)
					}
					if string(c.Decoded) == "null" {
						continue
					}
					if c.Decoded != nil {
						decoded = unquote(t, c.Decoded)
					}
					checkDecode(t, tok, c.IDs, false, decoded)
					if c.DecodedSkip != nil {
						decoded = unquote(t, c.DecodedSkip)
					}
					if i < len(texts) && string(c.DecodedSkip) != "null" {
						checkDecode(t, tok, c.IDs, true, decoded)
					}
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

func unquote(t *testing.T, raw json.RawMessage) (s string) {
	t.Helper()
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTrainVectors wants the merges of Hugging Face's BpeTrainer.
func TestTrainVectors(t *testing.T) {
	var want struct {
		Corpus  []string    `json:"corpus"`
		Size    int         `json:"vocab_size"`
		Least   int         `json:"min_frequency"`
		Special []string    `json:"special"`
		Tokens  []string    `json:"tokens"`
		Merges  [][2]string `json:"merges"`
	}
	readJSON(t, filepath.Join(vectorsDir(), "trained.json"), &want)
	tok, err := Train(slices.Values(want.Corpus), TrainOptions{VocabSize: want.Size, MinFrequency: want.Least, Special: want.Special, Pattern: PatternLlama3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Tokens, tok.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	var merges [][2]string
	for _, m := range tok.file.merges {
		merges = append(merges, m)
	}
	if diff := cmp.Diff(want.Merges, merges); diff != "" {
		t.Errorf("merges (-want +got):\n%s", diff)
	}
}

// TestChatVectors renders templates in the styles that models come with.
func TestChatVectors(t *testing.T) {
	cases := readLines[struct {
		Template string                     `json:"template"`
		Messages []Message                  `json:"messages"`
		Kwargs   map[string]json.RawMessage `json:"kwargs"`
		Text     *string                    `json:"text"`
		Error    string                     `json:"error"`
	}](t, filepath.Join(vectorsDir(), "chats.jsonl"))
	data, err := os.ReadFile(filepath.Join(vectorsDir(), "llama", tokenizerFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		cfg, _ := json.Marshal(map[string]any{"bos_token": "<s>", "eos_token": "</s>", "chat_template": c.Template})
		tok, err := Parse(data, cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tok.ApplyChat(c.Messages, chatCase{Kwargs: c.Kwargs}.options())
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("case %d: got %q, want the error %q", i, got, c.Error)
		case c.Text == nil && strings.Contains(c.Error, "roles") && !strings.Contains(err.Error(), c.Error):
			t.Errorf("case %d: error %q does not say %q", i, err, c.Error)
		case c.Text != nil && err != nil:
			t.Errorf("case %d: %v", i, err)
		case c.Text != nil && got != *c.Text:
			t.Errorf("case %d: %s\n got %q\nwant %q", i, c.Template, got, *c.Text)
		}
	}
}
