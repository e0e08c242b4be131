package seal

import (
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// Tokenizer is what this package needs of a tokenizer; *tokenizer.Tokenizer has it.
type Tokenizer interface {
	Encode(text string, addSpecial bool) []int32
	EncodeOffsets(text string, addSpecial bool) ([]int32, []tokenizer.Offset)
}

// EndOfText is the token that ends a text: <|endoftext|> for base models, the
// end of the turn for chat models.
type EndOfText struct {
	Text string // as written in a text
	ID   int32
}

// Tokens is a text to train on. The first Masked ids carry no loss, all others do.
type Tokens struct {
	IDs    []int32
	Masked int
}

// SequenceTokens tokenises a training sequence. Loss falls on every token, or,
// where endMask occurs in the text, on those that begin after its first
// occurrence. The text is cut at limit ids (0: no limit); where the cut takes
// the end of endMask with it, everything is masked. A text that is not cut gets
// one end-of-text, trained, if the limit leaves room for it.
func SequenceTokens(tok Tokenizer, text, endMask string, limit int, end EndOfText) Tokens {
	ids, offsets := tok.EncodeOffsets(text, true)
	masked := 0
	if i := strings.Index(text, endMask); endMask != "" && i >= 0 {
		for masked < len(ids) && offsets[masked].Start < i+len(endMask) {
			masked++
		}
	}
	switch {
	case limit > 0 && len(ids) > limit:
		ids = ids[:limit]
	case limit == 0 || len(ids) < limit:
		ids = append(ids, end.ID)
	}
	return Tokens{ids, min(masked, len(ids))}
}

// RecordTokens tokenises a prompt and its completion, with loss on the
// completion and one end-of-text. They are tokenised apart, so that the prompt
// has the tokens it has when the model is asked to complete it, even where the
// two would merge at the seam. A completion that ends in the end-of-text already
// does not get another.
func RecordTokens(tok Tokenizer, prompt, completion string, end EndOfText) Tokens {
	return CompletionTokens(tok, tok.Encode(prompt, true), completion, end)
}

// CompletionTokens is RecordTokens for a prompt that is tokenised already.
func CompletionTokens(tok Tokenizer, prompt []int32, completion string, end EndOfText) Tokens {
	if end.Text != "" {
		completion = strings.TrimSuffix(completion, end.Text)
	}
	ids := append(slices.Clone(prompt), tok.Encode(completion, false)...)
	return Tokens{append(ids, end.ID), len(prompt)}
}
