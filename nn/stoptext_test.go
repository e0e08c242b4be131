package nn_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

// The text so far holds a stop string exactly when Until says so, token by
// token, whatever the tokens cut: strings, characters, one another.
func TestStopAtTextFindsWhatDecodeShows(t *testing.T) {
	tok, err := tokenizer.Bytes(300)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		stops := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "ab", "\n\n", "é", "bé", "日本", "aab"}), 0, 3).Draw(t, "stops")
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "\n", "é", "日", "本", "<|endoftext|>"}), 1, 12).Draw(t, "text"), "")
		s := nn.StopAtText(tok, stops...)
		until := s.Until()
		any := strings.Join(stops, "") != ""
		if (until != nil) != any {
			t.Fatalf("Until is nil: %v, stop strings %q", until == nil, stops)
		}
		ids := tok.Encode(text, false)
		want := strings.ReplaceAll(text, "<|endoftext|>", "")
		for i := 1; any && i <= len(ids); i++ {
			held, has := strings.TrimRight(tok.Decode(ids[:i], true), "\ufffd"), false
			for _, stop := range stops {
				has = has || stop != "" && strings.Contains(held, stop)
			}
			if got := until(ids[:i]); got != has {
				t.Fatalf("after %q of %q: Until is %v, stop strings %q", held, text, got, stops)
			} else if got {
				ids = ids[:i]
				break
			}
		}
		trimmed := s.Trim(ids)
		if !strings.HasPrefix(want, trimmed) {
			t.Fatalf("Trim gives %q of %q", trimmed, want)
		}
		for _, stop := range stops {
			if stop != "" && strings.Contains(trimmed, stop) {
				t.Fatalf("Trim leaves %q in %q", stop, trimmed)
			}
		}
	})
}
