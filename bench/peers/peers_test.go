package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selkie-ml/selkie/bench"
)

// TestMain lets the test's own program be a worker, told so by the environment.
func TestMain(m *testing.M) {
	if os.Getenv("SELKIE_FAKE_WORKER") != "" {
		fakeWorker()
		return
	}
	os.Exit(m.Run())
}

// fakeWorker answers as worker.py does; a product with K = 13 fails, and so do some engines.
func fakeWorker() {
	engine := os.Args[slices.Index(os.Args, "--engine")+1]
	fmt.Println(`{"versions": {"fake": "1.0"}}`)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			fmt.Println(`{"error": "not JSON"}`)
			return
		}
		switch {
		case r.Do == "start" && r.Spec.K == 13:
			fmt.Println(`{"error": "ValueError: 13"}`)
		case r.Do == "start" && r.Spec.K == 14:
			return
		case r.Do == "start" && engine == "flash-attn", r.Do == "sample" && engine == "sdpa-cudnn":
			fmt.Println(`{"error": "RuntimeError: no"}`)
		case r.Do == "sample":
			fmt.Println(`{"seconds": 0.25}`)
		default:
			fmt.Println(`{}`)
		}
	}
}

func TestWorker(t *testing.T) {
	t.Setenv("SELKIE_FAKE_WORKER", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := options{python: self}
	w, err := startWorker(o, "fake", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if w.versions["fake"] != "1.0" {
		t.Errorf("versions %v", w.versions)
	}
	if err := w.start(bench.Spec{Op: "product", K: 1}); err != nil {
		t.Error(err)
	}
	if s, err := w.sample(time.Millisecond); s != 0.25 || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if err := w.start(bench.Spec{Op: "product", K: 13}); err == nil || err.Error() != "fake: ValueError: 13" {
		t.Errorf("a worker's error: %v", err)
	}
	if err := w.start(bench.Spec{Op: "product", K: 14}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a worker that ended: %v", err)
	}
}

// Every case belongs to one part, and the libraries asked for it exist.
func TestParts(t *testing.T) {
	cases, err := bench.Cases(sizes("cpu"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		var in []string
		for _, p := range parts {
			if p.cases(c, 2) {
				in = append(in, p.name)
			}
		}
		skipped := c.Suite() == "step" && c.Spec.Type == bench.BF16W
		if len(in) != 1 && !skipped || len(in) > 0 && skipped {
			t.Errorf("%s is in parts %v", c.Name, in)
		}
	}
	t.Logf("%d cases", len(cases))
}

// A row of 100 GFLOP at a peak of 100 GFLOP/s that took us 2 s.
func testRow(name string, peers map[string][]float64) *row {
	r := &row{Part: "products", Case: name, Threads: 2, Spec: bench.Spec{Adapters: 16}, Work: bench.Work{FLOPs: 1e11, Bytes: 1e10},
		Peak: bench.Peak{FMA: 1e11, BF16: 2e11, Read: 2e10}, Seconds: map[string][]float64{"selkie": {3, 2, 1}}}
	for k, v := range peers {
		r.Seconds[k] = v
	}
	return r
}

func TestRow(t *testing.T) {
	r := testRow("products/f32/x", map[string][]float64{"numpy": {5, 3, 4}, "torch": {9, 1, 5, 5}})
	if engine, s := r.best(); engine != "numpy" || s != 4 {
		t.Errorf("best is %s with %v", engine, s)
	}
	if r.median("torch") != 5 || r.ratio() != 2 || r.ofPeak() != 0.5 || r.ofRead() != 0.25 {
		t.Errorf("median %v, ratio %v, of peak %v, of read %v", r.median("torch"), r.ratio(), r.ofPeak(), r.ofRead())
	}
	if r.Peak.FMA = 4e10; computed(r) != 0 {
		t.Errorf("%v %% of a peak is no measurement", computed(r))
	}
	if alone := testRow("x", nil); alone.ratio() != 0 {
		t.Errorf("ratio without others: %v", alone.ratio())
	}
}

// A GPU's report has goals of its own.
func TestGPUReport(t *testing.T) {
	r := testRow("attention/bf16/heads16-16/8192x128/forward", map[string][]float64{"torch": {3}})
	r.Spec.Rows, r.Work.FLOPs = 8192, 8e14
	text := report(&book{Host: host{GPU: "NVIDIA X", Numerics: "cuda-sm_90-1"}, rows: []*row{r}})
	for _, want := range []string{"# GPU", "NVIDIA X", "scripts/gpu-check", "met: 400.00 TFLOP/s", "1.50"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

// Libraries for GPUs stand beside PyTorch, and one that fails is left out.
func TestGPUEngines(t *testing.T) {
	t.Setenv("SELKIE_FAKE_WORKER", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{options: options{python: self, device: "cuda", peers: "torch,sdpa-flash,sdpa-cudnn,flash-attn,unsloth,vllm", rounds: 2}, weights: bench.NewWeights()}
	cases, err := bench.Cases(sizes("cuda"))
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, c := range cases {
		engines := s.engines(c, 1)
		if len(engines) > 0 && engines[0] != "torch" {
			t.Errorf("%s is measured with %v", c.Name, engines)
		}
		for _, e := range engines {
			asked[e] = true
		}
	}
	for e := range strings.SplitSeq(s.peers, ",") {
		if !asked[e] {
			t.Errorf("%s has no case", e)
		}
	}
	cases, err = bench.Cases(sizes("cpu"))
	if err != nil {
		t.Fatal(err)
	}
	c := cases[slices.IndexFunc(cases, func(c bench.Case) bool { return c.Spec.Op == "attention" && c.Spec.Type == bench.BF16 })]
	env, err := bench.NewEnv("cpu", 1, s.weights)
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	workers := map[string]*worker{}
	for _, e := range s.engines(c, 1) {
		if workers[e], err = startWorker(s.options, e, 1); err != nil {
			t.Fatal(err)
		}
		defer workers[e].close()
	}
	r, err := s.compare(env, c, workers, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(r.Seconds)); !slices.Equal(got, []string{"sdpa-flash", "selkie", "torch"}) {
		t.Errorf("%s has times of %v", c.Name, got)
	}
}

func TestSpread(t *testing.T) {
	rows := []*row{testRow("products/a", map[string][]float64{"numpy": {2}}), testRow("products/b", map[string][]float64{"numpy": {8}}), testRow("products/c", nil)}
	for _, c := range []struct {
		mean, least float64
		met         bool
	}{{2, 1, true}, {2.1, 1, false}, {2, 1.1, false}} {
		measured, met, ok := spread(rows, (*row).ratio, "×", c.mean, c.least)
		if met != c.met || !ok || measured != "2.00 ×; least 1.00 × (a)" {
			t.Errorf("%+v: %s, %v, %v", c, measured, met, ok)
		}
	}
	if _, _, ok := spread(rows[2:], (*row).ratio, "×", 0, 0); ok {
		t.Error("a figure without rows")
	}
}

// Each goal finds the rows that the cases give it.
func TestGoalsFindTheirRows(t *testing.T) {
	cases, err := bench.Cases(sizes("cpu"))
	if err != nil {
		t.Fatal(err)
	}
	b := &book{}
	for _, c := range cases {
		r := testRow(c.Name, nil)
		for _, engine := range enginesFor(c, 2) {
			r.Seconds[engine] = []float64{20}
		}
		r.Spec = c.Spec
		b.rows = append(b.rows, r)
	}
	for _, g := range goals {
		if measured, _, ok := g.check(b, 2); !ok {
			t.Errorf("%s: no rows", g.work)
		} else {
			t.Log(g.work, "|", measured)
		}
		if _, _, ok := g.check(b, 1); ok {
			t.Errorf("%s: measured with 1 thread, which has no rows", g.work)
		}
	}
	// 16 adapters took 2 s: PyTorch's 20 s for one are 160 times as long.
	for _, r := range b.find(2, "seal/mini/bf16/qv/", "/adapters16/together") {
		if x := b.sealRatio(r, "bf16", "f32"); x != 160 {
			t.Errorf("%s: %v times as fast", r.Case, x)
		}
	}
}

// A book read again is the same, and a case measured again replaces its row.
func TestBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "day.jsonl")
	b, err := openBook(path)
	if err != nil {
		t.Fatal(err)
	}
	b.Host.CPU = "some processor"
	for _, name := range []string{"products/f32/train/a", "products/f32/train/b", "products/f32/train/a"} {
		if err := b.add(testRow(name, map[string][]float64{"numpy": {4}})); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openBook(path)
	if err != nil || len(again.rows) != 2 || report(again) != report(b) {
		t.Fatalf("%d rows, %v", len(again.rows), err)
	}
	for cpu, want := range map[string]string{"some processor": path, "another": filepath.Join(filepath.Dir(path), "day-2.jsonl")} {
		if b, err := todaysBook(strings.TrimSuffix(path, ".jsonl"), cpu); err != nil || b.path != want {
			t.Errorf("of %s: %s, %v, expected %s", cpu, b.path, err, want)
		}
	}
	text := report(again)
	for _, want := range []string{"some processor", "| f32 products of a training batch |", "met: 2.00 ×", "| products/f32/train/a | 2 s | 5 GB/s | 50 % | 4 s | 2.00 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if err := os.WriteFile(path, []byte("{}\n{\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openBook(path); err == nil || !strings.Contains(err.Error(), "day.jsonl:2") {
		t.Errorf("a damaged file: %v", err)
	}
}
