package examples

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/mutate"
)

// mutantRungs are the kernels that mutants are made of, each with sizes that together
// reach the edges of all its parts and still run fast.
func mutantRungs() [][]*problem {
	var vecadd, sum, transpose, softmax, matmul, mma, wgmma, cluster []*problem
	for _, n := range []int{100, 128} {
		vecadd = append(vecadd, vecAddProblem(VecAdd{Threads: 64}, n))
	}
	for _, n := range []int{1203, 768, 193} {
		sum = append(sum, sumProblem(Sum{Warps: 3}, n, 2))
	}
	for _, s := range [][2]int{{41, 70}, {35, 48}, {48, 35}, {52, 60}, {60, 52}, {36, 42}} {
		transpose = append(transpose, transposeProblem(Transpose{Rows: 8}, s[0], s[1]))
	}
	for _, s := range [][2]int{{24, 200}, {6, 96}, {2, 1}, {6, 30}} {
		softmax = append(softmax, softmaxProblem(Softmax{Warps: 3}, s[0], s[1]))
	}
	for _, s := range [][3]int{{35, 35, 19}, {42, 40, 8}, {33, 50, 12}, {16, 60, 9}} {
		matmul = append(matmul, matmulProblem(Matmul{BM: 16, BN: 32, BK: 4, TM: 2, TN: 4}, s[0], s[1], s[2]))
	}
	for _, s := range [][3]int{{43, 80, 16}, {53, 88, 24}, {63, 96, 48}, {32, 104, 56}, {3, 112, 80}, {33, 120, 88}, {40, 64, 40}, {11, 128, 8}, {8, 8, 0}, {70, 72, 200}} {
		mma = append(mma, mmaProblem(MMAMatmul{BM: 32, BN: 64, BK: 32, WarpsM: 2, WarpsN: 2, Stages: 3}, s[0], s[1], s[2]))
	}
	for _, s := range [][3]int{{64, 64, 64}, {130, 72, 200}} { // small ones first: most mutants die at once
		wgmma = append(wgmma, wgmmaProblem(WgmmaMatmul{BM: 128, BN: 64, Stages: 2, Cluster: 1}, s[0], s[1], s[2]))
		cluster = append(cluster, wgmmaProblem(WgmmaMatmul{BM: 64, BN: 64, Stages: 2, Cluster: 2}, s[0], s[1], s[2]))
	}
	return [][]*problem{vecadd, sum, transpose, softmax, matmul, mma, wgmma, cluster}
}

// killed runs a mutant until something notices, and says what did; "" for a survivor.
func killed(ps []*problem, m *mutate.Mutant) string {
	mod := m.Module()
	for _, cfg := range []emu.Config{
		{Schedule: emu.RoundRobin}, {Schedule: emu.Random, Seed: 1}, {Schedule: emu.Adversarial, Seed: 1}, {Schedule: emu.Adversarial, Seed: 2},
	} {
		cfg.Workers = 1
		for _, p := range ps {
			if err := p.run(mod, cfg); err != nil {
				what, _, _ := strings.Cut(err.Error(), "\n")
				return what
			}
		}
	}
	return ""
}

const resultFile = "testdata/mutants.txt"

// TestMutants plants defects in the ladder: a seeded sample, or all of them with
// SELKIE_MUTANTS=all, which writes testdata/mutants.txt (see scripts/mutate-kernels). A
// survivor must be in that file, with the reason why it is no defect.
func TestMutants(t *testing.T) {
	all := os.Getenv("SELKIE_MUTANTS") == "all"
	const sample = 24 // of each rung
	type job struct {
		rung string
		ps   []*problem
		m    *mutate.Mutant
	}
	var jobs []job
	total := 0
	var rungs []string
rungs:
	for _, ps := range mutantRungs() {
		rung, _, _ := strings.Cut(ps[0].name, " ")
		rungs = append(rungs, rung)
		for _, p := range ps {
			if err := p.run(p.module, emu.Config{}); err != nil {
				t.Errorf("%s without a mutant: %v", p.name, err)
				continue rungs
			}
		}
		ms := mutate.All(ps[0].module)
		total += len(ms)
		if !all {
			r := rand.New(rand.NewPCG(7, 7))
			r.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
			ms = ms[:min(sample, len(ms))]
		}
		for _, m := range ms {
			jobs = append(jobs, job{rung, ps, m})
		}
	}
	verdicts := make([]string, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				verdicts[i] = killed(jobs[i].ps, jobs[i].m)
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()

	argued, err := readArguments()
	if err != nil {
		t.Fatal(err)
	}
	type count struct{ killed, survived int }
	counts := map[string]*count{}
	by := map[string]int{}
	var survivors []string
	dead := 0
	for i, v := range verdicts {
		name := jobs[i].rung
		if counts[name] == nil {
			counts[name] = &count{}
		}
		if v != "" {
			dead++
			counts[name].killed++
			how, rest, _ := strings.Cut(v, ": ")
			if how == "finding" {
				kind, _, _ := strings.Cut(rest, ":")
				how += " " + kind
			}
			by[how]++
			continue
		}
		counts[name].survived++
		id := name + ": " + jobs[i].m.ID()
		survivors = append(survivors, id)
		if argued[id] == "" && !all {
			t.Errorf("survived: %s", id)
		}
	}
	t.Logf("%d of %d mutants run, %d killed, %d survived", len(jobs), total, dead, len(survivors))
	if 100*dead < 95*len(jobs) {
		t.Errorf("%d of %d mutants killed, expected at least 95 %%", dead, len(jobs))
	}
	if !all {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Mutants of the example ladder, by scripts/mutate-kernels: %d, of which %d killed (%.1f %%).\n#\n", len(jobs), dead, 100*float64(dead)/float64(len(jobs)))
	for _, rung := range rungs {
		if c := counts[rung]; c != nil {
			fmt.Fprintf(&b, "# %-10s %5d killed %4d survived\n", rung, c.killed, c.survived)
		}
	}
	b.WriteString("#\n# Killed by:\n")
	var hows []string
	for h := range by {
		hows = append(hows, h)
	}
	slices.SortFunc(hows, func(a, b string) int { return cmp.Or(by[b]-by[a], strings.Compare(a, b)) })
	for _, h := range hows {
		fmt.Fprintf(&b, "# %5d %s\n", by[h], h)
	}
	b.WriteString("#\n# Survivors, each with the reason why it is no defect.\n")
	slices.Sort(survivors)
	for _, s := range survivors {
		reason := argued[s]
		if reason == "" {
			reason = "NOT ARGUED"
		}
		fmt.Fprintf(&b, "%s\n\t%s\n", s, reason)
	}
	if err := os.MkdirAll(filepath.Dir(resultFile), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultFile, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// readArguments reads the survivors' reasons: a line of the mutant's ID, then one that
// begins with a tab.
func readArguments() (map[string]string, error) {
	f, err := os.Open(resultFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	argued := map[string]string{}
	id := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		switch line := s.Text(); {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			if r := strings.TrimSpace(line); r != "NOT ARGUED" {
				argued[id] = r
			}
		default:
			id = line
		}
	}
	return argued, nil
}
