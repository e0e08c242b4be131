package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocument: every line of a kernel that docs/writing-kernels.md shows stands in an
// example, which the other tests run, and every file that it names exists.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/writing-kernels.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := ""
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sources += string(text)
	}
	plain := func(s string) string {
		s, _, _ = strings.Cut(s, "//")
		return strings.Join(strings.Fields(strings.ReplaceAll(s, "ptx.Target{SM: 75}", "sm75")), " ")
	}
	have := map[string]bool{}
	for line := range strings.Lines(sources) {
		have[plain(line)] = true
	}
	shown := 0
	for line := range strings.Lines(string(doc)) {
		if code := strings.HasPrefix(line, "    "); code && (strings.Contains(line, "k.") || strings.Contains(line, "mod.")) && !strings.Contains(line, "dev.") && !strings.Contains(line, "emu.") {
			shown++
			if !have[plain(line)] {
				t.Errorf("no example has the line %q", strings.TrimSpace(line))
			}
		}
	}
	if shown < 10 {
		t.Errorf("the document shows %d lines of kernels", shown)
	}
	for _, m := range regexp.MustCompile(`\]\(\.\./([^)]+)\)`).FindAllSubmatch(doc, -1) {
		if _, err := os.Stat("../../" + string(m[1])); err != nil {
			t.Errorf("the document names %s: %v", m[1], err)
		}
	}
}
