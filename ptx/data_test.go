package ptx

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
)

// dataFiles lists the PTX files of compilers in the reference data.
func dataFiles(t testing.TB) []string {
	dir := filepath.Join(testdata.Dir(t), "ptx")
	files, err := filepath.Glob(filepath.Join(dir, "*", "kernel.ptx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no CASE/kernel.ptx", dir)
	}
	return files
}

func TestDataPTXRoundTrip(t *testing.T) {
	files := dataFiles(t)
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			m, err := ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, m)
		})
	}
	t.Logf("%d files", len(files))
}

// roundTrip fails unless the printed module parses to an equal one.
func roundTrip(t *testing.T, m *Module) {
	t.Helper()
	text := m.String()
	again, err := Parse("printed", text)
	if err != nil {
		t.Fatalf("the printed module does not parse: %v\n%s", err, text)
	}
	if d := Diff(m, again); d != "" {
		t.Fatalf("the printed module differs: %s\n%s", d, text)
	}
	if again.String() != text {
		t.Fatalf("printing twice gives different texts")
	}
}

func BenchmarkParse(b *testing.B) {
	var texts []string
	n := 0
	for _, f := range dataFiles(b) {
		t, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		texts = append(texts, string(t))
		n += len(t)
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		for _, t := range texts {
			if _, err := Parse("bench", t); err != nil {
				b.Fatal(err)
			}
		}
	}
}
