package cuda

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// pinned is what must not change unnoticed in a run of an ordeal: the bits of results, which
// the backend's numerics id stands for, and what kernels ask of the memories.
type pinned struct {
	results hash.Hash
	asked   map[string]traffic // by kernel
	longest int64              // warp-instructions of a launch
}

func (p *pinned) digest(result []byte) {
	if p.results == nil {
		p.results = sha256.New()
	}
	p.results.Write(result)
}

func (p *pinned) count(k kernel.Any, t trace) {
	if p.asked == nil {
		p.asked = map[string]traffic{}
	}
	sum := p.asked[k.Name()]
	sum.add(t.traffic)
	p.asked[k.Name()] = sum
	p.longest = max(p.longest, t.longest)
}

func (p *pinned) pins() *pinned { return p }

// pins is the text of testdata/pins.txt.
func pins(id string, list []prepared) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Bits and accesses of memory of the kernels on an emulated H100, in the problems that judge mutants. See TestPins.\nnumerics %s\n", id)
	all := map[string]traffic{}
	for _, p := range list {
		p := p.pins()
		for k, t := range p.asked {
			sum := all[k]
			sum.add(t)
			all[k] = sum
		}
	}
	b.WriteString("# SHA-256 of results, its first 8 bytes.\n")
	for _, p := range list {
		if r := p.pins().results; r != nil {
			fmt.Fprintf(&b, "%.8x %s\n", r.Sum(nil), p.name())
		}
	}
	b.WriteString("# Accesses by warps, their threads' bytes, sectors of 32 bytes of global memory, distinct ones, passes through the banks of shared memory.\n")
	for _, k := range slices.Sorted(maps.Keys(all)) {
		t := all[k]
		fmt.Fprintf(&b, "%s %d %d %d %d %d\n", k, t.requests, t.bytes, t.sectors, t.distinct, t.passes)
	}
	return b.Bytes()
}

// TestPins notices other bits, which want another numerics id, and other accesses of memory,
// which want a reason: go test -run TestPins -update writes testdata/pins.txt anew.
func TestPins(t *testing.T) {
	if os.Getenv("SELKIE_MUTANTS") == "" {
		t.Skip("takes minutes, and then TestMutants needs no more of them: SELKIE_MUTANTS=200 runs both")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: elsewhere Go rounds a·b + c once, and the problems have other numbers")
	}
	list, err := ordeals()
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/pins.txt"
	b, err := New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100}}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := pins(b.NumericsID(), list)
	if *update {
		if err := os.WriteFile(file, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was := map[string]int{}
	for line := range strings.Lines(string(want)) {
		was[line]++
	}
	n := 0
	for line := range strings.Lines(string(got)) {
		n++
		if was[line]--; was[line] < 0 {
			t.Errorf("new: %s", line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(was)) {
		if was[line] > 0 {
			t.Errorf("was: %s", line)
		}
	}
	t.Logf("%d lines of %s hold", n, file)
}
