// Peers times Selkie beside what people would otherwise use (PyTorch with PEFT,
// NumPy with OpenBLAS, llama.cpp), case by case and in turn, and writes what it
// found to bench/results. scripts/bench-peers makes the environment that it
// needs and runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selkie-ml/selkie/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	flag.StringVar(&o.python, "python", "python3", "interpreter with what requirements.txt names")
	flag.StringVar(&o.worker, "worker", "bench/peers/worker.py", "the peers' side")
	flag.StringVar(&o.llama, "llama", "", "folder of llama-bench and llama-batched-bench; empty: without llama.cpp")
	flag.StringVar(&o.cache, "cache", "", "folder for model files that llama.cpp reads")
	flag.StringVar(&o.results, "results", "bench/results", "folder of results")
	flag.StringVar(&o.only, "only", "", "cases whose name has this text, of the parts named")
	flag.StringVar(&o.device, "device", "cpu", "where to compute: cpu, or cuda for the first GPU")
	flag.StringVar(&o.peers, "peers", "numpy,torch,llama.cpp", "libraries to compare with")
	flag.IntVar(&o.rounds, "rounds", 5, "samples of each case and library; 3 at most where one takes a second, 2 where it takes five")
	threads := flag.String("threads", fmt.Sprintf("1,%d", runtime.NumCPU()), "numbers of threads")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: scripts/bench-peers [flags] [part ...]\nparts, all by default: %s\n", strings.Join(partNames(), " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	for word := range strings.SplitSeq(*threads, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("-threads %s: want numbers, as in 1,2", *threads)
		}
		o.threads = append(o.threads, n)
	}
	slices.Sort(o.threads)
	o.threads = slices.Compact(o.threads)
	chosen := flag.Args()
	for _, name := range chosen {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part %q: there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	kind := "CPU"
	if o.device != "cpu" {
		kind = "GPU"
		o.threads = o.threads[:1] // which do not matter there
	}
	base := filepath.Join(o.results, time.Now().Format(time.DateOnly)+"-"+kind)
	book, err := todaysBook(base, cpuName())
	if err != nil {
		return err
	}
	base = strings.TrimSuffix(book.path, ".jsonl")
	s := &session{options: o, book: book, weights: bench.NewWeights()}
	for _, p := range parts {
		if len(chosen) > 0 && !slices.Contains(chosen, p.name) {
			continue
		}
		if err := s.measure(p); err != nil {
			return fmt.Errorf("part %s: %w", p.name, err)
		}
		if err := os.WriteFile(base+".md", []byte(report(book)), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, "written:", base+".md")
	return nil
}

type options struct {
	python, worker, llama, cache, results, only, peers, device string

	rounds  int
	threads []int
}

// part is a group of cases that is measured, or measured again, on its own.
type part struct {
	name  string
	cases func(bench.Case, int) bool // which, with how many threads
}

// of chooses the suites named.
func of(suites ...string) func(bench.Case, int) bool {
	return func(c bench.Case, _ int) bool { return slices.Contains(suites, c.Suite()) }
}

var parts = []part{
	{"products", func(c bench.Case, _ int) bool { return c.Suite() == "products" && c.Spec.Copies == 0 }},
	{"cold", func(c bench.Case, _ int) bool { return c.Spec.Copies > 0 }},
	{"lora", of("lora")},
	{"attention", of("attention")},
	{"elementwise", of("elementwise")},
	{"mini", func(c bench.Case, _ int) bool {
		return c.Suite() == "full" || c.Suite() == "step" && c.Spec.Model == "mini" && c.Spec.Type != bench.BF16W
	}},
	{"seal", of("seal")},
	{"steps", func(c bench.Case, threads int) bool {
		if c.Suite() != "step" || c.Spec.Model == "mini" || c.Spec.Type == bench.BF16W {
			return false
		}
		return threads > 1 || len(c.Spec.Targets) == 2 // on one thread all seven layers tell nothing more
	}},
	{"decode", func(c bench.Case, threads int) bool {
		return of("decode", "prompt")(c, threads) && (threads > 1 || c.Spec.Batch <= 8)
	}},
}

func partNames() []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}

// sizes are the published ones, of fewer shapes and with fewer passes over
// SEAL's sequences: every pass takes the same time.
func sizes(device string) bench.Sizes {
	s := bench.Full()
	if device != "cpu" {
		s = bench.FullGPU()
	}
	s.Shapes = []string{s.Large}
	s.Epochs = 2
	return s
}

// session is one run of the program.
type session struct {
	options
	book    *book
	weights *bench.Weights
}

// measure times all cases of a part and keeps the results in the book.
func (s *session) measure(p part) error {
	all, err := bench.Cases(sizes(s.device))
	if err != nil {
		return err
	}
	began := time.Now()
	for _, threads := range s.threads {
		var cases []bench.Case
		for _, c := range all {
			if p.cases(c, threads) && strings.Contains(c.Name, s.only) {
				cases = append(cases, c)
			}
		}
		if err := s.measureWith(p.name, threads, cases, began); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) measureWith(part string, threads int, cases []bench.Case, began time.Time) error {
	env, err := bench.NewEnv(s.device, threads, s.weights)
	if err != nil {
		return err
	}
	defer env.Close()
	s.book.Host.describe(env)
	peak := bench.MeasurePeak(env)
	workers := map[string]*worker{}
	defer func() {
		for _, w := range workers {
			w.close()
		}
	}()
	for i, c := range cases {
		for _, engine := range s.engines(c, threads) {
			if workers[engine] == nil {
				if workers[engine], err = startWorker(s.options, engine, threads); err != nil {
					return err
				}
				maps.Copy(s.book.Host.Versions, workers[engine].versions)
			}
		}
		r, err := s.compare(env, c, workers, threads)
		if errors.Is(err, bench.ErrMemory) {
			fmt.Fprintln(os.Stderr, "left out:", err)
			continue
		}
		if err != nil {
			return err
		}
		r.Part, r.Peak = part, peak
		if err := s.book.add(r); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%6.0f s  %s %d/%d, %d threads: %s\n", time.Since(began).Seconds(), part, i+1, len(cases), threads, r)
	}
	return nil
}

// engines lists the libraries to compare a case with.
func (o *options) engines(c bench.Case, threads int) []string {
	chosen := strings.Split(o.peers, ",")
	return slices.DeleteFunc(o.able(c, threads), func(name string) bool {
		return !slices.Contains(chosen, name) || name == "llama.cpp" && o.llama == ""
	})
}

// able lists the libraries that can do the same work on the device.
func (o *options) able(c bench.Case, threads int) []string {
	if o.device == "cpu" {
		return enginesFor(c, threads)
	}
	if c.Spec.Type == bench.BF16W || c.Spec.Op == "seal" && c.Spec.Adapters > 1 {
		return nil
	}
	list := []string{"torch"}
	switch op := c.Spec.Op; { // see gpuwork.py
	case op == "attention" && c.Spec.Type == bench.BF16:
		list = append(list, "sdpa-flash", "sdpa-cudnn", "flash-attn")
	case op == "seal", op == "step" && len(c.Spec.Targets) > 0:
		list = append(list, "unsloth")
	case op == "decode", op == "prompt":
		list = append(list, "vllm")
	}
	return list
}

// enginesFor lists the libraries that can do the same work.
func enginesFor(c bench.Case, threads int) []string {
	switch {
	case c.Spec.Type == bench.BF16W:
		return nil // f32 arithmetic on bf16 weights: compared with our own f32
	case c.Spec.Op == "product" && c.Spec.Type == bench.F32:
		return []string{"numpy", "torch"}
	case c.Spec.Op == "seal" && c.Spec.Adapters > 1:
		return nil // others train one adapter after the other: compared with their time for one
	case c.Spec.Op == "decode" || c.Spec.Op == "prompt":
		if threads > 1 {
			return []string{"llama.cpp", "torch"}
		}
		return []string{"llama.cpp"} // the other is slower, and takes minutes
	}
	return []string{"torch"}
}

// optional tells whether a library may fail in a case, and then is left out of it: those of
// gpuwork.py, beside which there is PyTorch.
func (o *options) optional(engine string) bool {
	return o.device != "cpu" && engine != "torch" && engine != "selkie"
}

// compare takes samples in turn: ours, then each peer's, round after round.
func (s *session) compare(env *bench.Env, c bench.Case, workers map[string]*worker, threads int) (*row, error) {
	ours, err := c.Start(env)
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	const least = 80 * time.Millisecond // of one sample
	type side struct {
		name   string
		sample func() (float64, error)
	}
	sides := []side{{"selkie", func() (float64, error) { return ours.Sample(least) }}}
	for _, engine := range s.engines(c, threads) {
		w := workers[engine]
		if err := w.start(c.Spec); err != nil {
			if !s.optional(engine) {
				return nil, err
			}
			fmt.Fprintln(os.Stderr, "left out:", err)
			continue
		}
		defer w.stop()
		sides = append(sides, side{engine, func() (float64, error) { return w.sample(least) }})
	}
	r := &row{Case: c.Name, Threads: threads, Spec: c.Spec, Work: c.Work, Seconds: map[string][]float64{}}
	slowest := 0.0
	var able []side
	for _, side := range sides { // the first time of each is not counted
		t, err := side.sample()
		if err != nil && s.optional(side.name) {
			fmt.Fprintf(os.Stderr, "left out: %s: %v\n", c.Name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		slowest = max(slowest, t)
		able = append(able, side)
	}
	rounds := s.rounds
	if slowest > 1 {
		rounds = min(rounds, 3)
	}
	if slowest > 5 {
		rounds = min(rounds, 2)
	}
	for range rounds {
		for _, side := range able {
			time.Sleep(30 * time.Millisecond) // until the other's threads sleep
			t, err := side.sample()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			r.Seconds[side.name] = append(r.Seconds[side.name], t)
		}
	}
	return r, nil
}
