package bench

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	deviceFlag  = flag.String("device", "cpu", "`device` to measure, as tensor.Open knows them")
	threadsFlag = flag.String("threads", fmt.Sprintf("1,%d", runtime.NumCPU()), "numbers of `threads` to measure with")
	curvesFlag  = flag.String("curves", "", "`folder` to write the cost curves to that -bench Curve measures")
)

func TestMain(m *testing.M) {
	if os.Getenv(neighbour) != "" {
		if err := neighbourSteps(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	code := m.Run()
	if *curvesFlag != "" && code == 0 {
		if err := writeCurves(*curvesFlag); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// state is what benchmarks share: environments and peaks by threads.
var state = struct {
	weights *Weights
	envs    map[int]*Env
	peaks   map[int]Peak
}{NewWeights(), map[int]*Env{}, map[int]Peak{}}

// environments returns an environment for each number of threads asked for.
func environments(tb testing.TB) []*Env {
	var out []*Env
	for word := range strings.SplitSeq(*threadsFlag, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			tb.Fatalf("-threads %s: want numbers, as in 1,2", *threadsFlag)
		}
		if state.envs[n] == nil {
			if state.envs[n], err = NewEnv(*deviceFlag, n, state.weights); err != nil {
				tb.Fatal(err)
			}
		}
		if len(out) == 0 || out[len(out)-1].Threads != n {
			out = append(out, state.envs[n])
		}
		if out[0].GPU() {
			break // threads do not matter
		}
	}
	return out
}

func peakOf(e *Env) Peak {
	p, ok := state.peaks[e.Threads]
	if !ok {
		p = MeasurePeak(e)
		state.peaks[e.Threads] = p
	}
	return p
}

// suite benchmarks the cases of a suite, each with every number of threads.
func suite(b *testing.B, name string) {
	for _, unit := range []string{"GFLOP/s", "GB/s", "tokens/s", "%peak"} {
		fmt.Println("Unit", unit, "better=higher") // for benchstat
	}
	sizes := Full()
	if environments(b)[0].GPU() {
		sizes = FullGPU()
	}
	cases, err := Cases(sizes)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range cases {
		if c.Suite() != name {
			continue
		}
		for _, e := range environments(b) {
			b.Run(fmt.Sprintf("%s/threads=%d", strings.TrimPrefix(c.Name, name+"/"), e.Threads), func(b *testing.B) { benchmark(b, c, e) })
		}
	}
}

// benchmark times a case and reports its rates and the share of the time that
// the machine's peak would need.
func benchmark(b *testing.B, c Case, e *Env) {
	run, err := c.Start(e)
	if errors.Is(err, ErrMemory) {
		b.Skip(err)
	} else if err != nil {
		b.Fatal(err)
	}
	defer run.Close()
	if c.Spec.Op != "seal" { // whose first steps are a small part
		if _, err := run.Once(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	seconds := 0.0
	if began := time.Now(); run.Enqueue != nil && e.GPU() {
		for b.Loop() {
			run.Enqueue()
		}
		if err := run.Sync(); err != nil {
			b.Fatal(err)
		}
		seconds = time.Since(began).Seconds()
	} else {
		for b.Loop() {
			d, err := run.Once()
			if err != nil {
				b.Fatal(err)
			}
			seconds += d.Seconds()
		}
	}
	seconds /= float64(b.N)
	b.ReportMetric(seconds*1e9, "ns/op")
	report := func(work float64, unit string, scale float64) {
		if work > 0 {
			b.ReportMetric(work/seconds/scale, unit)
		}
	}
	report(c.Work.FLOPs, "GFLOP/s", 1e9)
	report(c.Work.Bytes, "GB/s", 1e9)
	report(c.Work.Tokens, "tokens/s", 1)
	b.ReportMetric(100*peakOf(e).Seconds(c.Work)/seconds, "%peak")
}

func BenchmarkProducts(b *testing.B)    { suite(b, "products") }
func BenchmarkLoRA(b *testing.B)        { suite(b, "lora") }
func BenchmarkAttention(b *testing.B)   { suite(b, "attention") }
func BenchmarkElementwise(b *testing.B) { suite(b, "elementwise") }
func BenchmarkStep(b *testing.B)        { suite(b, "step") }
func BenchmarkSEAL(b *testing.B)        { suite(b, "seal") }
func BenchmarkFull(b *testing.B)        { suite(b, "full") }
func BenchmarkDecode(b *testing.B)      { suite(b, "decode") }
func BenchmarkPrompt(b *testing.B)      { suite(b, "prompt") }

// BenchmarkPeak states the machine's limits as measured in this run.
func BenchmarkPeak(b *testing.B) {
	for _, e := range environments(b) {
		b.Run(fmt.Sprintf("threads=%d", e.Threads), func(b *testing.B) {
			p := peakOf(e)
			for b.Loop() {
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(p.FMA/1e9, "f32-GFLOP/s")
			b.ReportMetric(p.FMALoads/1e9, "f32-from-L1-GFLOP/s")
			b.ReportMetric(p.BF16/1e9, "bf16-GFLOP/s")
			b.ReportMetric(p.Read/1e9, "GB/s")
		})
	}
}

// Every case runs, with one thread and two, and says what it is.
func TestCases(t *testing.T) {
	cases, err := Cases(Tiny())
	if err != nil {
		t.Fatal(err)
	}
	weights := NewWeights()
	suites := map[string]int{}
	for threads := 1; threads <= 2; threads++ {
		e, err := NewEnv("cpu", threads, weights)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if threads == 1 {
				suites[c.Suite()]++
				checkCase(t, c)
			}
			run, err := c.Start(e)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if d, err := run.Once(); err != nil || d <= 0 {
					t.Errorf("%s: took %v, %v", c.Name, d, err)
				}
			}
			run.Close()
		}
		e.DropModels()
		if used := e.Stats().InUse; used != 0 {
			t.Errorf("%d bytes are in use after all cases", used)
		}
		e.Close()
	}
	for _, want := range []string{"products", "lora", "attention", "elementwise", "step", "seal", "full", "decode", "prompt"} {
		if suites[want] == 0 {
			t.Errorf("no case of suite %s", want)
		}
	}
	t.Log(suites)
}

// checkCase tells what a case's description lacks.
func checkCase(t *testing.T, c Case) {
	if c.Work.FLOPs <= 0 && c.Work.Bytes <= 0 {
		t.Errorf("%s: no work is counted", c.Name)
	}
	text, err := json.Marshal(c.Spec)
	if err != nil || c.Spec.Op == "" || c.Spec.Type == "" || !strings.Contains(c.Name, c.Spec.Type) && c.Suite() != "elementwise" && c.Suite() != "lora" {
		t.Errorf("%s: specified as %s, %v", c.Name, text, err)
	}
}

// The published cases have names of their own, which scripts and documents use.
func TestFullSizes(t *testing.T) {
	for _, want := range []string{"attention/bf16/heads16-16/16384x128/forward+backward", "step/qwen2.5-7b/bf16/qv/rank32/1x4096", "seal/qwen2.5-7b/bf16/qv/rank32/adapters16/together/epochs1", "decode/qwen2.5-7b/bf16/batch1/prompt64"} {
		if !caseNames(t, FullGPU())[want] {
			t.Errorf("no case %s on a GPU", want)
		}
	}
	names := caseNames(t, Full())
	for _, want := range []string{
		"products/f32/train/qwen2.5-0.5b/896to4864/NT", "products/bf16/cold/rows8/896to151936", "lora/rank32/16x64/forward", "lora/rank32/1x1024/backward",
		"attention/f32/heads14-14/512x64/forward+backward", "step/qwen2.5-0.5b/f32/qv/rank32/1x512", "step/llama3.2-1b/bf16/all7/rank32/1x128",
		"seal/mini/f32/qv/rank32/adapters16/together/epochs10", "full/mini/f32/16x128", "decode/qwen2.5-0.5b/bf16/batch32/prompt64", "prompt/qwen2.5-0.5b/f32/512",
	} {
		if !names[want] {
			t.Errorf("no case %s", want)
		}
	}
	t.Logf("%d cases", len(names))
}

func caseNames(t *testing.T, s Sizes) map[string]bool {
	cases, err := Cases(s)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("%s: two cases have this name", c.Name)
		}
		names[c.Name] = true
	}
	return names
}
