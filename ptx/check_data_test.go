package ptx

import (
	"path/filepath"
	"testing"
)

// What compilers emit is right for the target that it states.
func TestDataPTXCheck(t *testing.T) {
	files := dataFiles(t)
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			m, err := ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(Target{}, Version{}); err != nil {
				t.Errorf("%v", err)
			}
			low := m.LowestVersion()
			if m.Version.Less(low) {
				t.Errorf("lowest version is %s, the compiler states %s", low, m.Version)
			}
		})
	}
	t.Logf("%d files", len(files))
}
