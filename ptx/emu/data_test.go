package emu_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/emu/ptxcase"
)

// schedules are those that every case must pass.
var schedules = []struct {
	name string
	cfg  emu.Config
}{
	{"round robin", emu.Config{Schedule: emu.RoundRobin, Workers: 1}},
	{"round robin, 2 workers", emu.Config{Schedule: emu.RoundRobin, Workers: 2}},
	{"random 1", emu.Config{Schedule: emu.Random, Seed: 1}},
	{"random 2", emu.Config{Schedule: emu.Random, Seed: 2}},
	{"adversarial 3", emu.Config{Schedule: emu.Adversarial, Seed: 3}},
	{"adversarial 4", emu.Config{Schedule: emu.Adversarial, Seed: 4}},
	{"adversarial 5", emu.Config{Schedule: emu.Adversarial, Seed: 5}},
}

// gpuFor is a GPU that runs a target.
func gpuFor(t ptx.Target) *emu.GPU {
	switch {
	case t.SM > 90:
		return emu.RTX5090
	case t.SM >= 90:
		return emu.H100
	case t.SM >= 80:
		return emu.A100
	}
	return emu.T4
}

func corpus(t testing.TB) []string {
	dir := filepath.Join(testdata.Dir(t), "ptx")
	cases, err := filepath.Glob(filepath.Join(dir, "*", "case.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("%s holds no CASE/case.json", dir)
	}
	for i, c := range cases {
		cases[i] = filepath.Dir(c)
	}
	return cases
}

func TestDataCorpus(t *testing.T) { runCorpus(t, 0) }

// A kernel that is right must give no finding under any schedule.
func TestDataCorpusChecked(t *testing.T) { runCorpus(t, emu.AllChecks) }

func runCorpus(t *testing.T, checks emu.Checks) {
	cases := corpus(t)
	runs := 0
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, err := ptxcase.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			m, err := c.Module()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range schedules {
				cfg := s.cfg
				cfg.GPU, cfg.Checks = gpuFor(m.Target), checks
				dev := emu.New(cfg)
				r, err := c.Prepare(dev, m)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Launch(); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				if err := r.Compare(); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				dev.Close()
				var b strings.Builder
				for _, f := range dev.Findings() {
					b.WriteString(f.String() + "\n")
				}
				if b.Len() > 0 {
					t.Fatalf("%s: findings in a kernel that is right:\n%s", s.name, b.String())
				}
				runs++
			}
		})
	}
	t.Logf("%d cases, %d runs", len(cases), runs)
}
