package examples

import (
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/mutate"
	"github.com/selkie-ml/selkie/ptx/mutate/mutatetest"
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

// TestMutants plants defects in the ladder: a seeded sample, or all of them with
// SELKIE_MUTANTS=all (see scripts/mutate-kernels).
func TestMutants(t *testing.T) {
	sample := mutatetest.Sample(t, 24) // of each rung
	var jobs []mutatetest.Job
	total := 0
rungs:
	for _, ps := range mutantRungs() {
		for _, p := range ps {
			if err := p.run(p.module, emu.Config{}); err != nil {
				t.Errorf("%s without a mutant: %v", p.name, err)
				continue rungs
			}
		}
		rung, _, _ := strings.Cut(ps[0].name, " ")
		var own []mutatetest.Job
		for _, m := range mutate.All(ps[0].module) {
			own = append(own, mutatetest.Job{Group: rung, Mutant: m, Killed: func() string { return killed(ps, m) }})
		}
		total += len(own)
		jobs = append(jobs, mutatetest.Pick(own, sample)...)
	}
	mutatetest.Run(t, mutatetest.List{File: "testdata/mutants.txt", Title: "Mutants of the example ladder, by scripts/mutate-kernels", Total: total, All: sample == 0}, jobs)
}
