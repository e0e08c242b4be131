package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Save writes tokenizer.json and tokenizer_config.json (and chat_template.jinja
// where the tokenizer was loaded with one) into dir, which is made if needed.
// Hugging Face's libraries load them. Each file is replaced as a whole or not
// at all.
func (t *Tokenizer) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("tokenizer: saving: %w", err)
	}
	files := []struct {
		name string
		data []byte
	}{
		{tokenizerFile, t.marshal()},
		{configFile, t.config.raw},
		{templateFile, t.chat.file},
	}
	for _, f := range files {
		if f.name == configFile && f.data == nil {
			f.data = []byte("{}\n")
		}
		if f.data == nil {
			continue
		}
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("tokenizer: saving: %w", err)
		}
	}
	return nil
}

// writeFile puts data in a temporary file beside path and renames it.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// marshal writes tokenizer.json with the vocabulary in the order of ids.
func (t *Tokenizer) marshal() []byte {
	var b bytes.Buffer
	value := func(v any) {
		// Marshal escapes < and >, which would make special tokens unreadable.
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			panic(err) // strings, numbers and JSON that was parsed before
		}
		b.Truncate(b.Len() - 1)
	}
	raw := func(r json.RawMessage) {
		if isNull(r) {
			b.WriteString("null")
			return
		}
		if err := json.Indent(&b, r, "  ", "  "); err != nil {
			panic(err)
		}
	}
	b.WriteString("{\n  \"version\": \"1.0\"")
	for _, part := range []struct {
		name string
		json json.RawMessage
	}{{"truncation", t.file.truncation}, {"padding", t.file.padding}} {
		fmt.Fprintf(&b, ",\n  %q: ", part.name)
		raw(part.json)
	}
	b.WriteString(",\n  \"added_tokens\": [")
	for i, a := range t.added {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		value(a)
	}
	b.WriteString("\n  ]")
	for _, part := range []struct {
		name string
		json json.RawMessage
	}{
		{"normalizer", t.file.normalizer}, {"pre_tokenizer", t.file.preTokenizer},
		{"post_processor", t.file.postProcessor}, {"decoder", t.file.decoder},
	} {
		fmt.Fprintf(&b, ",\n  %q: ", part.name)
		raw(part.json)
	}
	m := t.file.model
	b.WriteString(",\n  \"model\": {\n    \"type\": \"BPE\"")
	for _, f := range []struct {
		name  string
		value any
	}{
		{"dropout", m.Dropout}, {"unk_token", m.UnkToken}, {"continuing_subword_prefix", m.Prefix}, {"end_of_word_suffix", m.Suffix},
		{"fuse_unk", m.FuseUnk}, {"byte_fallback", m.ByteFallback}, {"ignore_merges", m.IgnoreMerges},
	} {
		fmt.Fprintf(&b, ",\n    %q: ", f.name)
		value(f.value)
	}
	b.WriteString(",\n    \"vocab\": {")
	separator := ""
	for id, token := range t.file.vocab {
		if token == "" {
			continue // an added token's id
		}
		b.WriteString(separator + "\n      ")
		value(token)
		fmt.Fprintf(&b, ": %d", id)
		separator = ","
	}
	b.WriteString("\n    },\n    \"merges\": [")
	for i, m := range t.file.merges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n      [")
		value(m[0])
		b.WriteString(", ")
		value(m[1])
		b.WriteByte(']')
	}
	b.WriteString("\n    ]\n  }\n}\n")
	return b.Bytes()
}
