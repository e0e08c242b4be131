package tokenizer

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
)

var prose = strings.Repeat("The river rises in the northern hills and runs for ninety miles to the sea; in 1987 they'd never seen it.\n", 100) +
	strings.Repeat("for i in range(100):\n        total += values[i] * 3.14\n", 50) + strings.Repeat("日本語のテキスト、漢字とカナ。 Ünïcödé naïve ", 50)

func benchmarkEncode(b *testing.B, tok *Tokenizer) {
	b.SetBytes(int64(len(prose)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Encode(prose, false)
	}
}

// BenchmarkEncode measures encoding with the patterns of Llama 3 and Qwen2, by
// the scanners, and for comparison with the same pattern in regexp2.
func BenchmarkEncode(b *testing.B) {
	for name, pattern := range map[string]string{"llama": PatternLlama3, "qwen": PatternQwen2, "regexp2": "(?:" + PatternLlama3 + ")"} {
		tok, err := Train(slices.Values([]string{prose}), TrainOptions{VocabSize: 1000, Pattern: pattern})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmarkEncode(b, tok) })
	}
}

// BenchmarkDataEncode is BenchmarkEncode with the publishers' vocabularies.
func BenchmarkDataEncode(b *testing.B) {
	for _, name := range []string{"llama3.2", "qwen2.5"} {
		b.Run(name, func(b *testing.B) {
			tok, err := Load(filepath.Join(testdata.Dir(b), "tokenizers", name))
			if err != nil {
				b.Fatal(err)
			}
			benchmarkEncode(b, tok)
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := small(b)
	ids := tok.Encode(prose, false)
	b.SetBytes(int64(len(prose)))
	for b.Loop() {
		tok.Decode(ids, false)
	}
}

func BenchmarkTrain(b *testing.B) {
	for b.Loop() {
		if _, err := Train(slices.Values([]string{prose}), TrainOptions{VocabSize: 1000}); err != nil {
			b.Fatal(err)
		}
	}
}
