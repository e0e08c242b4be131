// Package tokenizer turns text into token ids and back exactly as the Hugging
// Face libraries do for the models Selkie runs: byte-level BPE (GPT-2, Llama 3,
// Qwen2) and BPE with byte fallback (the older SentencePiece style). It reads
// and writes tokenizer.json and tokenizer_config.json, renders chat templates,
// decodes streams and trains byte-level vocabularies.
//
// What a file asks for and the package does not implement is refused by name;
// nothing is guessed.
//
// It knows nothing of tensors and models and must not import any other package
// of this module except internal ones.
package tokenizer

// Offset is a half-open range of bytes [Start, End) of the text given to Encode.
type Offset struct{ Start, End int }

// Tokenizer encodes and decodes text. It is immutable after loading and safe
// for concurrent use.
type Tokenizer struct {
	tokens []string // by id; "" where the id is unused
	ids    map[string]int32

	added      []AddedToken
	special    map[int32]bool
	shown      map[int32]string // how added tokens decode where normalisation changes them, as in HF
	raw        matcher          // added tokens sought in the text as given
	normalised matcher          // added tokens sought after normalisation

	norm    normalizer // nil: none
	pre     []preTokenizer
	bpe     bpe
	post    template
	decode  []decoder
	cleanup bool

	config config
	file   fileParts
	chat   templates

	vocabSize int
}

// AddedToken is an entry of tokenizer.json's added_tokens: a string that is cut
// out of the text before the model sees it.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no word character touches it
	LStrip     bool   `json:"lstrip"`      // swallows white space before it
	RStrip     bool   `json:"rstrip"`      // swallows white space after it
	Normalized bool   `json:"normalized"`  // sought after normalisation
	Special    bool   `json:"special"`     // left out by Decode with skipSpecial
}

// VocabSize is the number of ids, from 0: tokens of the model and added ones.
// For a tokenizer made by Bytes it is the size asked for.
func (t *Tokenizer) VocabSize() int { return t.vocabSize }

// TokenID returns the id of the token written as in tokenizer.json (byte-level
// tokens in their printable alphabet: "Ġthe").
func (t *Tokenizer) TokenID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token returns the token of an id as tokenizer.json writes it, "" if the id is
// unused or out of range.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// IsSpecial reports whether Decode leaves the id out when asked to skip special tokens.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.special[id] }

// AddedTokens returns a copy of the added tokens in the file's order.
func (t *Tokenizer) AddedTokens() []AddedToken { return append([]AddedToken(nil), t.added...) }

// BOS returns the beginning-of-sequence token named by tokenizer_config.json
// and its id; ok is false where none is named.
func (t *Tokenizer) BOS() (token string, id int32, ok bool) { return t.named(t.config.BOS) }

// EOS returns the end-of-sequence token, as BOS does.
func (t *Tokenizer) EOS() (token string, id int32, ok bool) { return t.named(t.config.EOS) }

// PAD returns the padding token, as BOS does.
func (t *Tokenizer) PAD() (token string, id int32, ok bool) { return t.named(t.config.PAD) }

// UNK returns the unknown token, as BOS does.
func (t *Tokenizer) UNK() (token string, id int32, ok bool) { return t.named(t.config.UNK) }

func (t *Tokenizer) named(n tokenName) (string, int32, bool) {
	if n == "" {
		return "", -1, false
	}
	id, ok := t.ids[string(n)]
	if !ok {
		id = -1
	}
	return string(n), id, ok
}
