package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const (
	tokenizerFile = "tokenizer.json"
	configFile    = "tokenizer_config.json"
	templateFile  = "chat_template.jinja"
)

// Load reads a tokenizer from a Hugging Face model folder: tokenizer.json, and
// where they exist tokenizer_config.json and chat_template.jinja (which takes
// precedence over a template in the configuration). Errors name the file and
// the field.
func Load(dir string) (*Tokenizer, error) {
	data, err := os.ReadFile(filepath.Join(dir, tokenizerFile))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w (expected a Hugging Face folder with a %s)", err, tokenizerFile)
	}
	optional := func(name string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
		return b, nil
	}
	cfg, err := optional(configFile)
	if err != nil {
		return nil, err
	}
	jinja, err := optional(templateFile)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if jinja != nil {
		t.chat.file = jinja
		t.chat.set("default", string(jinja))
	}
	return t, nil
}

// Parse reads a tokenizer from the contents of tokenizer.json and
// tokenizer_config.json (nil or empty: none).
func Parse(tokenizerJSON, tokenizerConfigJSON []byte) (*Tokenizer, error) {
	t := new(Tokenizer)
	if err := t.parseFile(tokenizerJSON); err != nil {
		return nil, fmt.Errorf("%s: %w", tokenizerFile, err)
	}
	if err := t.parseConfig(tokenizerConfigJSON); err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	return t, nil
}

func (t *Tokenizer) parseFile(data []byte) error {
	var f fileJSON
	if err := strict(data, &f); err != nil {
		return err
	}
	model, err := parseModel(f.Model)
	if err != nil {
		return err
	}
	t.file = fileParts{
		truncation: f.Truncation, padding: f.Padding, normalizer: f.Normalizer, preTokenizer: f.PreTokenizer,
		postProcessor: f.PostProcessor, decoder: f.Decoder, model: *model, merges: model.Merges,
	}
	t.file.model.Vocab, t.file.model.Merges = nil, nil

	t.added = f.AddedTokens
	if t.tokens, err = tokenTable(model.Vocab, f.AddedTokens); err != nil {
		return err
	}
	t.vocabSize = len(t.tokens)
	t.ids = make(map[string]int32, len(t.tokens))
	for id, token := range t.tokens {
		t.ids[token] = int32(id)
	}
	t.file.vocab = make([]string, len(t.tokens))
	for token, id := range model.Vocab {
		t.file.vocab[id] = token
	}

	if t.norm, err = parseNormalizer("normalizer", f.Normalizer); err != nil {
		return err
	}
	if t.pre, err = parsePreTokenizer("pre_tokenizer", f.PreTokenizer); err != nil {
		return err
	}
	byteLevel, err := checkByteLevel(t.pre)
	if err != nil {
		return err
	}
	if t.bpe, err = newBPE(model, byteLevel); err != nil {
		return err
	}
	if t.post, err = parsePostProcessor("post_processor", f.PostProcessor, len(t.tokens)); err != nil {
		return err
	}
	if t.decode, err = parseDecoder("decoder", f.Decoder); err != nil {
		return err
	}
	t.special, t.shown = map[int32]bool{}, map[int32]string{}
	for _, a := range t.added {
		t.seek(a)
	}
	return nil
}

// seek makes Encode and Decode know an added token.
func (t *Tokenizer) seek(a AddedToken) {
	if a.Special {
		t.special[a.ID] = true
	}
	if !a.Normalized {
		t.raw.add(a.Content, a)
		return
	}
	content := t.normalize(a.Content)
	t.normalised.add(content, a)
	if content != a.Content {
		t.shown[a.ID] = content
	}
}

// config is what the package uses of tokenizer_config.json.
type config struct {
	BOS          tokenName       `json:"bos_token"`
	EOS          tokenName       `json:"eos_token"`
	PAD          tokenName       `json:"pad_token"`
	UNK          tokenName       `json:"unk_token"`
	Cleanup      bool            `json:"clean_up_tokenization_spaces"`
	CleanupBPE   bool            `json:"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"`
	ChatTemplate json.RawMessage `json:"chat_template"`
	// Added repeats the added tokens; some folders have tokens here alone.
	Added     map[int32]AddedToken `json:"added_tokens_decoder"`
	VocabSize int                  `json:"selkie_vocab_size"` // ids the model has, if more than the tokenizer uses

	raw []byte
}

// tokenName is a token given as a string or as an added-token object.
type tokenName string

func (n *tokenName) UnmarshalJSON(data []byte) error {
	var o struct {
		Content string `json:"content"`
	}
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &o); err != nil {
			return err
		}
		*n = tokenName(o.Content)
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	*n = tokenName(s)
	return nil
}

// maxVocab bounds selkie_vocab_size, far above any real vocabulary.
const maxVocab = 1 << 28

func (t *Tokenizer) parseConfig(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, &t.config); err != nil {
		return jsonError(data, err)
	}
	t.config.raw = data
	// HF ignores clean_up_tokenization_spaces for BPE unless told twice.
	t.cleanup = t.config.Cleanup && t.config.CleanupBPE
	for _, id := range slices.Sorted(maps.Keys(t.config.Added)) {
		a := t.config.Added[id]
		a.ID = id
		known, ok := t.ids[a.Content]
		switch {
		case ok && known == id:
			continue
		case ok:
			return fmt.Errorf("added_tokens_decoder: %q has id %d but %s gives it id %d", a.Content, id, tokenizerFile, known)
		case a.Content == "" || int(id) != len(t.tokens):
			return fmt.Errorf("added_tokens_decoder: %q has id %d, but it is not in %s, whose next free id is %d", a.Content, id, tokenizerFile, len(t.tokens))
		}
		t.tokens, t.ids[a.Content] = append(t.tokens, a.Content), id
		t.file.vocab = append(t.file.vocab, "")
		t.added = append(t.added, a)
		t.seek(a)
	}
	t.vocabSize = len(t.tokens)
	if n := t.config.VocabSize; n != 0 {
		if n < len(t.tokens) || n > maxVocab {
			return fmt.Errorf("selkie_vocab_size: found %d; expected %d (the tokens of %s) to %d", n, len(t.tokens), tokenizerFile, maxVocab)
		}
		t.vocabSize = n
	}
	return t.chat.parse(t.config.ChatTemplate)
}
