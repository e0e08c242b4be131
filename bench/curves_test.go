package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// A curve is what a LoRA step of the small shape costs along one of its sizes,
// the others fixed.
type curve struct {
	name   string // and unit of x
	fixed  string
	points []point
}

type point struct {
	x, rank, adapters, batch, seq int
}

func curves() []curve {
	var tokens, lengths, ranks, adapters []point
	for n := 1; n <= 32; n *= 2 {
		tokens = append(tokens, point{x: 128 * n, rank: stepRank, adapters: 1, batch: n, seq: 128})
	}
	for n := 32; n <= 2048; n *= 2 {
		lengths = append(lengths, point{x: n, rank: stepRank, adapters: 1, batch: 2048 / n, seq: n})
	}
	for n := 4; n <= 256; n *= 2 {
		ranks = append(ranks, point{x: n, rank: n, adapters: 1, batch: 8, seq: 128})
	}
	for n := 1; n <= 64; n *= 2 {
		adapters = append(adapters, point{x: n, rank: stepRank, adapters: n, batch: 64, seq: 32})
	}
	return []curve{
		{"tokens", "sequences of 128 tokens, one adapter of rank 32", tokens},
		{"length", "2,048 tokens in sequences of this length, one adapter of rank 32", lengths},
		{"rank", "8 sequences of 128 tokens, one adapter", ranks},
		{"adapters", "64 sequences of 32 tokens, adapters of rank 32", adapters},
	}
}

// cost is what a point was measured to take.
type cost struct {
	point
	threads         int
	seconds, ofPeak float64
	work            Work
	arena, resident int64 // bytes at most; resident of the whole process, 0 where the system does not tell
}

// costs are what BenchmarkCurve has measured, by curve.
var costs = map[string][]cost{}

func BenchmarkCurve(b *testing.B) {
	shape, err := Shape("mini")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range curves() {
		for _, p := range c.points {
			for _, e := range environments(b) {
				b.Run(fmt.Sprintf("%s=%d/threads=%d", c.name, p.x, e.Threads), func(b *testing.B) {
					got := cost{point: p, threads: e.Threads, work: stepWork(shape, repeat(p.batch, p.seq), p.rank, QV, false)}
					measureCost(b, e, &got)
					costs[c.name] = append(costs[c.name], got)
				})
			}
		}
	}
}

func measureCost(b *testing.B, e *Env, c *cost) {
	debug.FreeOSMemory()
	resetResident()
	e.dev.Backend().ResetPeak()
	run, err := e.startLoRAStep("mini", F32, QV, c.rank, c.adapters, c.batch, c.seq)
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close()
	if _, err := run.Once(); err != nil {
		b.Fatal(err)
	}
	seconds := 0.0
	for b.Loop() {
		d, err := run.Once()
		if err != nil {
			b.Fatal(err)
		}
		seconds += d.Seconds()
	}
	c.seconds = seconds / float64(b.N)
	c.ofPeak = peakOf(e).Seconds(c.work) / c.seconds
	c.arena, c.resident = e.Stats().Peak, resident()
	b.ReportMetric(100*c.ofPeak, "%peak")
	b.ReportMetric(c.work.Tokens/c.seconds, "tokens/s")
	b.ReportMetric(float64(c.arena)/(1<<20), "arena-MiB")
	b.ReportMetric(float64(c.resident)/(1<<20), "resident-MiB")
}

// resetResident starts a new measurement of resident's maximum.
func resetResident() { os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// resident returns the most bytes of the process that were in memory; 0 where
// the system does not tell.
func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// writeCurves writes curves.md, and a picture of each curve.
func writeCurves(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var s strings.Builder
	fmt.Fprintf(&s, "# What a step costs\n\nA LoRA step (q and v, f32) of the shape mini. Arena: bytes handed out at most, by plan. Resident: of the whole process.\n"+
		"Made by `go test ./bench -run '^$' -bench Curve -curves %s`.\n", filepath.ToSlash(dir))
	for _, c := range curves() {
		if len(costs[c.name]) == 0 {
			continue
		}
		fmt.Fprintf(&s, "\n## %s\n\n%s.\n\n![step time](curve-%s.svg)\n\n| %s | threads | step | tokens/s | peak | arena MiB | resident MiB |\n| --- | --- | --- | --- | --- | --- | --- |\n",
			strings.ToUpper(c.name[:1])+c.name[1:], strings.ToUpper(c.fixed[:1])+c.fixed[1:], c.name, c.name)
		for _, p := range costs[c.name] {
			fmt.Fprintf(&s, "| %d | %d | %.1f ms | %.0f | %.0f %% | %d | %d |\n",
				p.x, p.threads, p.seconds*1e3, p.work.Tokens/p.seconds, 100*p.ofPeak, p.arena>>20, p.resident>>20)
		}
		if err := draw(c, filepath.Join(dir, "curve-"+c.name+".svg")); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "curves.md"), []byte(s.String()), 0o644)
}

// draw draws step time over x, a line for each number of threads, both axes
// logarithmic.
func draw(c curve, path string) error {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = c.name, "ms a step"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	lines := map[int]plotter.XYs{}
	for _, got := range costs[c.name] {
		lines[got.threads] = append(lines[got.threads], plotter.XY{X: float64(got.x), Y: got.seconds * 1e3})
	}
	for threads := range 65 {
		if len(lines[threads]) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(lines[threads])
		if err != nil {
			return err
		}
		line.Dashes = []vg.Length{vg.Points(float64(1 + 2*threads)), vg.Points(2)}
		p.Add(line, dots)
		p.Legend.Add(fmt.Sprintf("threads %d", threads), line, dots)
	}
	p.Legend.Left, p.Legend.Top = true, true
	return p.Save(12*vg.Centimeter, 8*vg.Centimeter, path)
}

// The writer writes what was measured.
func TestWriteCurves(t *testing.T) {
	old := costs
	defer func() { costs = old }()
	costs = map[string][]cost{}
	for _, c := range curves() {
		for i, p := range c.points {
			costs[c.name] = append(costs[c.name], cost{point: p, threads: 2, seconds: float64(i+1) / 1000, ofPeak: 0.5, work: Work{Tokens: 128}, arena: 3 << 20, resident: 7 << 20})
		}
	}
	dir := t.TempDir()
	if err := writeCurves(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "curves.md"))
	if err != nil || !strings.Contains(string(text), "| 128 | 2 | 1.0 ms | 128000 | 50 % | 3 | 7 |") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, c := range curves() {
		if svg, err := os.ReadFile(filepath.Join(dir, "curve-"+c.name+".svg")); err != nil || !strings.Contains(string(svg), "</svg>") {
			t.Errorf("%s: %d bytes, %v", c.name, len(svg), err)
		}
	}
}
