package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// fileJSON is tokenizer.json.
type fileJSON struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []AddedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// fileParts are the parts of tokenizer.json that Save writes as they were read.
type fileParts struct {
	truncation, padding                              json.RawMessage
	normalizer, preTokenizer, postProcessor, decoder json.RawMessage
	model                                            bpeJSON // without Vocab and Merges
	vocab                                            []string
	merges                                           []mergeText
}

// bpeJSON is the model section of tokenizer.json.
type bpeJSON struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	UnkToken     *string          `json:"unk_token"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       []mergeText      `json:"merges"`
}

// mergeText is a merge in either style: ["a","b"], or "a b" in older files.
type mergeText [2]string

func (m *mergeText) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		left, right, ok := strings.Cut(s, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return fmt.Errorf("merge %q: expected two tokens separated by one space", s)
		}
		*m = mergeText{left, right}
		return nil
	}
	var p []string
	if err := json.Unmarshal(data, &p); err != nil || len(p) != 2 || p[0] == "" || p[1] == "" {
		return fmt.Errorf("merge %.60s: expected [\"left\", \"right\"] or \"left right\"", data)
	}
	*m = mergeText(p)
	return nil
}

// isNull reports whether a JSON value is absent or null.
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// strict decodes data into v, refusing unknown fields.
func strict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonError(data, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("unexpected data after the JSON value at %s", position(data, dec.InputOffset()))
	}
	return nil
}

// jsonError says where in data a JSON error lies.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("malformed JSON at %s: %w", position(data, syntax.Offset), err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("field %q at %s: expected %s, found %s", mismatch.Field, position(data, mismatch.Offset), mismatch.Type, mismatch.Value)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("malformed JSON: it ends unexpectedly at %s; the file is truncated", position(data, int64(len(data))))
	}
	return err
}

func position(data []byte, offset int64) string {
	offset = min(max(offset, 0), int64(len(data)))
	before := data[:offset]
	return fmt.Sprintf("line %d, byte %d", 1+bytes.Count(before, []byte("\n")), offset)
}

// unsupported is the refusal of a part this package does not implement.
func unsupported(field, found string, supported ...string) error {
	return fmt.Errorf("%s: found %q, which is not supported; supported: %s", field, found, strings.Join(supported, ", "))
}

// typeOf reads the "type" field of a component.
func typeOf(field string, raw json.RawMessage) (string, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", fmt.Errorf("%s: expected an object with a \"type\": %w", field, err)
	}
	if head.Type == "" {
		return "", fmt.Errorf("%s: field \"type\" is missing", field)
	}
	return head.Type, nil
}

// component decodes one component strictly.
func component(field string, raw json.RawMessage, v any) error {
	if err := strict(raw, v); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// parseModel reads and checks the model section.
func parseModel(raw json.RawMessage) (*bpeJSON, error) {
	if isNull(raw) {
		return nil, errors.New("field \"model\" is missing")
	}
	// Older files name no type: HF then tells the model from its fields.
	var head struct {
		Type   string          `json:"type"`
		Merges json.RawMessage `json:"merges"`
		Vocab  json.RawMessage `json:"vocab"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if head.Type != "" && head.Type != "BPE" {
		return nil, unsupported("model.type", head.Type, "BPE")
	}
	if isNull(head.Vocab) {
		return nil, errors.New("model.vocab is missing")
	}
	if isNull(head.Merges) {
		return nil, errors.New("model.merges is missing")
	}
	m := new(bpeJSON)
	if err := component("model", raw, m); err != nil {
		return nil, err
	}
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		return nil, fmt.Errorf("model.dropout: found %v; only null or 0 is supported", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "":
		return nil, unsupported("model.continuing_subword_prefix", *m.Prefix, "null", `""`)
	case m.Suffix != nil && *m.Suffix != "":
		return nil, unsupported("model.end_of_word_suffix", *m.Suffix, "null", `""`)
	case len(m.Vocab) == 0:
		return nil, errors.New("model.vocab is empty")
	}
	return m, nil
}

// tokenTable lists the tokens by id and refuses ids that are negative, used
// twice or left out.
func tokenTable(vocab map[string]int32, added []AddedToken) ([]string, error) {
	limit := len(vocab) + len(added) // no id of a vocabulary without holes reaches it
	tokens := make([]string, limit)
	used := make([]bool, limit)
	size := 0
	for token, id := range vocab {
		if err := claim(tokens, used, token, id, "model.vocab"); err != nil {
			return nil, err
		}
		size = max(size, int(id)+1)
	}
	for i, a := range added {
		field := fmt.Sprintf("added_tokens[%d]", i)
		if a.Content == "" {
			return nil, fmt.Errorf("%s: content is empty", field)
		}
		if id, ok := vocab[a.Content]; ok {
			if id != a.ID {
				return nil, fmt.Errorf("%s: %q has id %d but model.vocab gives it id %d", field, a.Content, a.ID, id)
			}
			continue
		}
		if err := claim(tokens, used, a.Content, a.ID, field); err != nil {
			return nil, err
		}
		size = max(size, int(a.ID)+1)
	}
	if hole := slices.Index(used[:size], false); hole >= 0 {
		return nil, fmt.Errorf("the vocabulary has a hole: no token has id %d although ids go up to %d", hole, size-1)
	}
	return tokens[:size], nil
}

func claim(tokens []string, used []bool, token string, id int32, field string) error {
	switch {
	case id < 0:
		return fmt.Errorf("%s: %q has the negative id %d", field, token, id)
	case int(id) >= len(tokens):
		return fmt.Errorf("%s: %q has id %d but there are only %d tokens, so the vocabulary has a hole", field, token, id, len(tokens))
	case used[id]:
		first, second := min(tokens[id], token), max(tokens[id], token)
		return fmt.Errorf("%s: id %d is used twice, by %q and %q", field, id, first, second)
	}
	tokens[id], used[id] = token, true
	return nil
}
