package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
)

var spills = regexp.MustCompile(`[1-9][0-9]* bytes spill|[Ss]erialized|[1-9][0-9]* bytes stack`)

// TestPtxas assembles every kernel for every target that it claims, without spills.
func TestPtxas(t *testing.T) {
	for i, bin := range ptxas.Find(t) {
		t.Run(fmt.Sprintf("ptxas%d", i), func(t *testing.T) { assembleLadder(t, bin) })
	}
}

func assembleLadder(t *testing.T, bin string) {
	for _, r := range ladder() {
		for _, target := range r.targets {
			t.Run(fmt.Sprintf("%s/%s", r.name, target), func(t *testing.T) {
				m := r.module
				file := filepath.Join(t.TempDir(), "k.ptx")
				if err := os.WriteFile(file, []byte(m.String()), 0o666); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(bin, "-v", "-arch="+target, "-o", filepath.Join(t.TempDir(), "k.cubin"), file).CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if s := spills.Find(out); s != nil {
					t.Errorf("%s:\n%s", s, out)
				}
				t.Logf("%s", out)
			})
		}
	}
}
