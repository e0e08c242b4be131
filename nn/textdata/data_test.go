package textdata_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn/textdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// With every released chat template, loss lies on what the assistant says and
// on the token that ends its turn, and on nothing else.
func TestDataChatTemplates(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "tokenizers")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const chat = `{"messages":[{"role":"user","content":"What barks?"},{"role":"assistant","content":"A seal does."},{"role":"user","content":"Où?"},{"role":"assistant","content":"À la mer."}]}`
	tried := 0
	for _, entry := range entries {
		tok, err := tokenizer.Load(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !tok.HasChat() {
			continue
		}
		tried++
		d, err := textdata.Parse("chat", strings.NewReader(chat), tok, textdata.Options{End: -1})
		if err != nil {
			t.Errorf("%s: %v", entry.Name(), err)
			continue
		}
		e := d.Examples[0]
		var said []string
		for i := 0; i < len(e.Tokens); i++ {
			from := i
			for i < len(e.Tokens) && e.Train[i] {
				i++
			}
			if i > from {
				said = append(said, tok.Decode(e.Tokens[from:i-1], false))
				if end := e.Tokens[i-1]; !tok.IsSpecial(end) {
					t.Errorf("%s: the turn ends with %q, want the token that ends turns", entry.Name(), tok.Token(end))
				}
			}
		}
		if strings.Join(said, "/") != "A seal does./À la mer." {
			t.Errorf("%s: loss on %q", entry.Name(), said)
		}
	}
	if tried == 0 {
		t.Fatalf("no tokenizer with a chat template in %s", dir)
	}
	t.Logf("%d chat templates", tried)
}
