// Package report says of a kernel what can be known without a GPU: what NVIDIA's
// assembler makes of it, how many of its blocks a multiprocessor holds, and what the
// emulator counts while it runs.
package report

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// Row is what is known of a kernel on a compute capability.
type Row struct {
	Kernel    string
	SM        int
	Threads   int // of a block
	Registers int // of a thread
	Spilled   int // bytes of registers that went to memory
	Shared    int // bytes of a block
	Occupancy ptx.Occupancy

	// From the emulator.
	Conflicts         int64 // passes through the banks of shared memory beyond those needed
	Passes            int64
	SectorsPerRequest float64 // 32-byte sectors that a warp's access of global memory touches
	TensorShare       float64 // of all floating-point operations
}

var (
	usedRegisters = regexp.MustCompile(`Used (\d+) registers`)
	staticShared  = regexp.MustCompile(`(\d+) bytes smem`)
	spilled       = regexp.MustCompile(`(\d+) bytes (?:stack frame|spill stores|spill loads)`)
)

// Assemble fills a row by the assembler at bin, for a kernel and a launch of it.
func Assemble(bin string, k kernel.Any, l kernel.Launch, target string) (Row, error) {
	row := Row{Kernel: k.Name(), Threads: l.Block[0] * l.Block[1] * l.Block[2]}
	if _, err := fmt.Sscanf(target, "sm_%d", &row.SM); err != nil {
		return row, fmt.Errorf("report: target %s: %w", target, err)
	}
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return row, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "k.ptx")
	if err := os.WriteFile(file, []byte(kernel.Module(k).String()), 0o666); err != nil {
		return row, err
	}
	out, err := exec.Command(bin, "-v", "-arch="+target, "-o", filepath.Join(dir, "k.cubin"), file).CombinedOutput()
	if err != nil {
		return row, fmt.Errorf("report: kernel %s for %s: %w\n%s", k.Name(), target, err, out)
	}
	number := func(text [][]byte) int {
		n, _ := strconv.Atoi(string(text[1])) // digits, by the expression
		return n
	}
	m := usedRegisters.FindSubmatch(out)
	if m == nil {
		return row, fmt.Errorf("report: kernel %s for %s: the assembler does not say how many registers it uses:\n%s", k.Name(), target, out)
	}
	row.Registers, row.Shared = number(m), l.Shared
	if m := staticShared.FindSubmatch(out); m != nil {
		row.Shared += number(m)
	}
	for _, m := range spilled.FindAllSubmatch(out, -1) {
		row.Spilled += number(m)
	}
	sm, ok := ptx.LimitsOf(row.SM)
	if !ok {
		return row, fmt.Errorf("report: the limits of sm_%d are not known", row.SM)
	}
	row.Occupancy, err = sm.Occupancy(row.Threads, row.Registers, row.Shared)
	return row, err
}

// Count fills in what the emulator counted.
func (r *Row) Count(p *emu.KernelProfile) {
	r.Conflicts, r.Passes = p.BankConflicts()
	r.SectorsPerRequest, r.TensorShare = p.SectorsPerRequest(), p.TensorShare()
}

// String is the row as a line of a table.
func (r Row) String() string {
	return fmt.Sprintf("%-90s sm_%-3d %4d threads %3d registers %3d spilled %6d shared %3.0f %% of warps by %-13s %6d conflicts %5.1f sectors %5.1f %% tensor",
		r.Kernel, r.SM, r.Threads, r.Registers, r.Spilled, r.Shared, r.Occupancy.Percent, r.Occupancy.Limit, r.Conflicts, r.SectorsPerRequest, 100*r.TensorShare)
}
