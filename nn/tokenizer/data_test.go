package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
)

// readLines decodes a JSONL file, line by line.
func readLines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []T
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatalf("%s, line %d: %v", path, len(out)+1, err)
		}
		out = append(out, v)
	}
	if err := in.Err(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no cases", path)
	}
	return out
}

// textCase is what HF makes of a text.
type textCase struct {
	Text        string  `json:"text"`
	IDs         []int32 `json:"ids"`
	Special     []int32 `json:"ids_with_special"`
	Decoded     string  `json:"decoded"`
	DecodedSkip string  `json:"decoded_skip_special"`
}

func (c textCase) check(t *testing.T, tok *Tokenizer) {
	t.Helper()
	c.checkEncode(t, tok)
	checkDecode(t, tok, c.IDs, false, c.Decoded)
	checkDecode(t, tok, c.IDs, true, c.DecodedSkip)
}

func (c textCase) checkEncode(t *testing.T, tok *Tokenizer) {
	t.Helper()
	if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
		t.Errorf("Encode(%q) = %v\nwant %v", c.Text, got, c.IDs)
	}
	ids, offsets := tok.EncodeOffsets(c.Text, true)
	if !slices.Equal(ids, c.Special) {
		t.Errorf("Encode(%q) with special tokens = %v\nwant %v", c.Text, ids, c.Special)
	}
	checkOffsets(t, c.Text, ids, offsets)
}

// checkOffsets wants one ordered range per id inside the text.
func checkOffsets(t *testing.T, text string, ids []int32, offsets []Offset) {
	t.Helper()
	if len(ids) != len(offsets) {
		t.Fatalf("EncodeOffsets(%q): %d ids but %d offsets", text, len(ids), len(offsets))
	}
	at := 0
	for i, o := range offsets {
		if o.Start < at || o.End < o.Start || o.End > len(text) {
			t.Fatalf("EncodeOffsets(%q): offset %d is %v after start %d", text, i, o, at)
		}
		at = o.Start
	}
}

func checkDecode(t *testing.T, tok *Tokenizer, ids []int32, skip bool, want string) {
	t.Helper()
	if got := tok.Decode(ids, skip); got != want {
		t.Errorf("Decode(%v, %v) = %q\nwant %q", ids, skip, got, want)
	}
	s := tok.NewStream()
	s.SkipSpecial = skip
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	if b.String() != want {
		t.Errorf("streaming %v gives %q\nwant %q", ids, b.String(), want)
	}
}

// TestDataTokenizers runs every NAME.jsonl on tokenizers/NAME.
func TestDataTokenizers(t *testing.T) {
	dir := testdata.Dir(t)
	files, _ := filepath.Glob(filepath.Join(dir, "golden", "tokenizers", "*.jsonl"))
	total := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".chat.jsonl") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			tok, err := Load(filepath.Join(dir, "tokenizers", name))
			if err != nil {
				t.Fatal(err)
			}
			cases := readLines[textCase](t, file)
			for _, c := range cases {
				c.check(t, tok)
			}
			total += len(cases)
			t.Logf("%d texts", len(cases))
		})
	}
	if total == 0 {
		t.Fatalf("no cases in %s", filepath.Join(dir, "golden", "tokenizers"))
	}
}

// TestDataStories checks the SentencePiece-style tokenizer of stories260k.
func TestDataStories(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "golden", "stories260k")
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Prompt    string  `json:"prompt"`
		PromptIDs []int32 `json:"prompt_ids"`
		GreedyIDs []int32 `json:"greedy_ids"`
		Text      string  `json:"text"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("golden.json holds no cases")
	}
	for _, c := range cases {
		if got := tok.Encode(c.Prompt, true); !slices.Equal(got, c.PromptIDs) {
			t.Errorf("Encode(%q) = %v\nwant %v", c.Prompt, got, c.PromptIDs)
		}
		checkDecode(t, tok, append(slices.Clone(c.PromptIDs), c.GreedyIDs...), true, c.Text)
	}
	t.Logf("%d stories", len(cases))
}

// chatCase is what HF makes of a chat.
type chatCase struct {
	Messages []Message                  `json:"messages"`
	Generate bool                       `json:"add_generation_prompt"`
	Kwargs   map[string]json.RawMessage `json:"kwargs"`
	Text     string                     `json:"text"`
	IDs      []int32                    `json:"ids"`
}

func (c chatCase) options() ChatOptions {
	opts := ChatOptions{AddGenerationPrompt: c.Generate, Vars: map[string]any{}}
	for key, value := range c.Kwargs {
		opts.Vars[key] = value
	}
	return opts
}

// TestDataChats runs every NAME.chat.jsonl on tokenizers/NAME.
func TestDataChats(t *testing.T) {
	dir := testdata.Dir(t)
	files, _ := filepath.Glob(filepath.Join(dir, "golden", "tokenizers", "*.chat.jsonl"))
	if len(files) == 0 {
		t.Fatalf("no chats in %s", filepath.Join(dir, "golden", "tokenizers"))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".chat.jsonl")
		t.Run(name, func(t *testing.T) {
			tok, err := Load(filepath.Join(dir, "tokenizers", name))
			if err != nil {
				t.Fatal(err)
			}
			cases := readLines[chatCase](t, file)
			for _, c := range cases {
				opts := c.options()
				text, err := tok.ApplyChat(c.Messages, opts)
				if err != nil {
					t.Errorf("%+v: %v", c.Messages, err)
					continue
				}
				if text != c.Text {
					t.Errorf("ApplyChat(%+v) = %q\nwant %q", c.Messages, text, c.Text)
				}
				if ids, _ := tok.EncodeChat(c.Messages, opts); !slices.Equal(ids, c.IDs) {
					t.Errorf("EncodeChat(%+v) = %v\nwant %v", c.Messages, ids, c.IDs)
				}
			}
			t.Logf("%d chats", len(cases))
		})
	}
}
