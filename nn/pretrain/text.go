package pretrain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn/textdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

var blankLines = regexp.MustCompile(`\r?\n[ \t]*\r?\n\s*`)

// ReadTexts returns the documents of text files: of a .jsonl file the field
// "text" of every line, of others what blank lines separate, or with whole the
// file as one. Errors name file and line.
func ReadTexts(paths []string, whole bool) ([]string, error) {
	var texts []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		before := len(texts)
		if ext := strings.ToLower(filepath.Ext(path)); ext == ".jsonl" || ext == ".ndjson" {
			err = textdata.Lines(path, bytes.NewReader(data), func(_ int, line []byte) error {
				var rec struct{ Text *string }
				if err := json.Unmarshal(line, &rec); err != nil {
					return fmt.Errorf("malformed JSON: %w", err)
				}
				if rec.Text == nil || strings.TrimSpace(*rec.Text) == "" {
					return errors.New(`field "text" is missing or empty`)
				}
				texts = append(texts, *rec.Text)
				return nil
			})
			if err != nil {
				return nil, err
			}
		} else {
			data = bytes.TrimPrefix(data, []byte("\ufeff"))
			if !utf8.Valid(data) {
				return nil, fmt.Errorf("%s: not valid UTF-8: expected a text file", path)
			}
			parts := []string{string(data)}
			if !whole {
				parts = blankLines.Split(string(data), -1)
			}
			for _, p := range parts {
				if p = strings.TrimSpace(p); p != "" {
					texts = append(texts, p)
				}
			}
		}
		if len(texts) == before {
			return nil, fmt.Errorf("%s: holds no text", path)
		}
	}
	return texts, nil
}

// TextSource packs documents end to end, in a new order every epoch, and cuts
// them into pieces of one context. Tokens attend only within their document.
type TextSource struct {
	docs    [][]int32 // each with its end of text
	tokens  int       // of all documents
	context int
	batch   int // pieces in a step
	seed    uint64

	epoch  int     // whose tokens are in stream
	stream []int32 // nil: none yet
	ends   []int   // of its documents
}

// NewTextSource returns a source whose steps have batch pieces of context
// tokens. The tokenizer must name an end-of-text token.
func NewTextSource(texts []string, tok *tokenizer.Tokenizer, context, batch int, seed uint64) (*TextSource, error) {
	_, end, ok := tok.EOS()
	switch {
	case !ok:
		return nil, errors.New("the tokenizer names no end-of-text token (eos_token in tokenizer_config.json)")
	case context < 2:
		return nil, fmt.Errorf("context of %d tokens: want 2 or more", context)
	case batch < 1:
		return nil, fmt.Errorf("batch of %d pieces: want 1 or more", batch)
	case len(texts) == 0:
		return nil, errors.New("no texts to train on")
	}
	s := &TextSource{context: context, batch: batch, seed: seed}
	for _, t := range texts {
		ids := append(tok.Encode(t, false), end)
		s.docs = append(s.docs, ids)
		s.tokens += len(ids)
	}
	return s, nil
}

// Tokens is the number of tokens in an epoch.
func (s *TextSource) Tokens() int { return s.tokens }

// Batch implements Source.
func (s *TextSource) Batch(step int) ([]Group, error) {
	pieces := (s.tokens + s.context - 1) / s.context // of an epoch
	g := Group{Name: "text", Weight: 1}
	for i := step * s.batch; i < (step+1)*s.batch; i++ {
		s.open(i / pieces)
		start := i % pieces * s.context
		stop := min(start+s.context, s.tokens)
		next, _ := slices.BinarySearch(s.ends, start+1)
		for ; start < stop; next++ {
			end := min(s.ends[next], stop)
			if end-start > 1 { // nothing predicts a lone token
				g.Documents = append(g.Documents, Document{Tokens: s.stream[start:end:end]})
			}
			start = end
		}
	}
	return []Group{g}, nil
}

// open puts the documents of an epoch in their order.
func (s *TextSource) open(epoch int) {
	if s.stream != nil && s.epoch == epoch {
		return
	}
	order := philox.NewStream(philox.ID{Seed: s.seed, Purpose: philox.PurposePretrain, Item: "order", Round: epoch}).Perm(len(s.docs))
	// A new slice: a batch may still hold pieces of the epoch before.
	s.epoch, s.stream, s.ends = epoch, make([]int32, 0, s.tokens), s.ends[:0]
	for _, d := range order {
		s.stream = append(s.stream, s.docs[d]...)
		s.ends = append(s.ends, len(s.stream))
	}
}
